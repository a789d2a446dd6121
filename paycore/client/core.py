"""What both clients share and what needs no waiting."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from typing import Any, TypeVar

from paycore.client import calls, model, requests
from paycore.client.bulk import Bulk
from paycore.client.errors import ClientError, UnexpectedReplyError
from paycore.client.keys import new_key
from paycore.client.retries import Attempts, Patience, Timeouts
from paycore.client.rpcs import Rpc
from paycore.client.sealing import SealingKey
from paycore.domain.pin import Pin
from paycore.domain.step_up import PaymentIntent
from paycore.runtime.clock import Clock, SystemClock
from paycore.v1 import account_service_pb2, transfer_service_pb2

KEYS_KEPT_S = 300.0
"""How long the signing service's public keys are used before they are asked for again."""

Order = TypeVar("Order", model.TransferOrder, model.HoldOrder)

REQUEST_ID_KEY = "x-request-id"


def _random_text() -> str:
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Time, chance and names, passed in.

    `new_text` gives unique texts for request ids, `new_key` an idempotency key for the time in
    microseconds.
    """

    clock: Clock = field(default_factory=SystemClock)
    random: Callable[[], float] = random.random
    new_text: Callable[[], str] = _random_text
    new_key: Callable[[int], str] = new_key


class Lanes:
    """The channels to one service, used in turn, with their prepared calls."""

    def __init__(self, channels: Sequence[Any]) -> None:
        """`channels` are gRPC's, async or blocking."""
        self.channels = tuple(channels)
        self._lanes: Any = cycle([(channel, {}) for channel in self.channels])

    def next(self, rpc: Rpc) -> Any:
        """`rpc` on the next channel, to be called with a request where it is not streamed."""
        channel, prepared = next(self._lanes)
        call = prepared.get(rpc.path)
        if call is None:
            if rpc.streamed:
                prepare = channel.stream_stream
            else:
                prepare = channel.unary_stream if rpc.watched else channel.unary_unary
            call = prepared[rpc.path] = prepare(
                rpc.path,
                request_serializer=rpc.request.SerializeToString,
                response_deserializer=rpc.reply.FromString,
            )
        return call


class Core:
    """Makes keys, attempts, bulk requests and proofs."""

    def __init__(self, identity: str, timeouts: Timeouts, surroundings: Surroundings) -> None:
        self.identity = identity
        self.surroundings = surroundings
        self._timeouts = timeouts
        self._sealing_key: SealingKey | None = None
        self._sealing_key_until_s = 0.0

    def key(self, given: str | None) -> str:
        """The caller's idempotency key, or a new one."""
        return self._new_key() if given is None else given

    def attempts(self, patience: Patience, *, repeatable: bool = True) -> Attempts:
        return Attempts(
            self._timeouts,
            patience,
            self.surroundings.clock.monotonic_s,
            self.surroundings.random,
            repeatable=repeatable,
        )

    def accounts(
        self, accounts: Sequence[model.NewAccount]
    ) -> Bulk[account_service_pb2.CreateAccountRequest, model.AccountReceipt]:
        keyed = ((self.key(account.idempotency_key), account) for account in accounts)
        return Bulk(
            [(key, requests.create_account(account, key)) for key, account in keyed],
            calls.create_accounts,
        )

    def transfers(
        self, orders: Sequence[model.TransferOrder]
    ) -> Bulk[transfer_service_pb2.SubmitTransferRequest, model.TransferReceipt]:
        keyed = ((self.key(order.idempotency_key), order) for order in orders)
        return Bulk(
            [(key, requests.submit_transfer(order, key, None)) for key, order in keyed],
            calls.submit_transfers,
        )

    def known_sealing_key(self) -> SealingKey | None:
        """The key to seal to, if it was asked for not long ago."""
        if self.surroundings.clock.monotonic_s() < self._sealing_key_until_s:
            return self._sealing_key
        return None

    def keep_sealing_key(self, keys: Sequence[model.PublicKey]) -> SealingKey:
        """Choose the current sealing key among the signing service's.

        Raises UnexpectedReplyError where there is none.
        """
        for key in keys:
            if key.purpose is model.KeyPurpose.SEALING and key.current:
                self._sealing_key = SealingKey(key.key_id, key.public_key)
                self._sealing_key_until_s = self.surroundings.clock.monotonic_s() + KEYS_KEPT_S
                return self._sealing_key
        raise UnexpectedReplyError("the signing service names no current sealing key")

    def forget_sealing_key(self) -> None:
        """After a refusal that an outdated key would explain."""
        self._sealing_key_until_s = 0.0

    def proof(self, sealing: SealingKey, order: Order, pin: Pin) -> model.StepUpProof:
        """The payer's approval of `order`, which must have its key and name accounts by id."""
        if order.idempotency_key is None:
            raise ValueError("a proof is bound to an idempotency key: set it on the order")
        if not (isinstance(order.debit_account, int) and isinstance(order.credit_account, int)):
            raise ValueError("a proof is bound to the ids of accounts: resolve identifiers first")
        signed_at_us = self.surroundings.clock.now_us()
        intent = PaymentIntent(
            kind=order.kind.value,
            debit_account=order.debit_account,
            credit_account=order.credit_account,
            amount=order.amount.minor_units,
            currency=order.amount.currency,
            client=self.identity,
            idempotency_key=order.idempotency_key,
            signed_at_us=signed_at_us,
        )
        return model.StepUpProof(signed_at_us, sealing.for_payment(pin, intent))

    def keyed(self, order: Order) -> tuple[Order, str]:
        """`order` with a key, and that key."""
        if order.idempotency_key is not None:
            return order, order.idempotency_key
        key = self._new_key()
        return replace(order, idempotency_key=key), key

    def _new_key(self) -> str:
        return self.surroundings.new_key(self.surroundings.clock.now_us())


def label(failure: ClientError, request_id: str, key: str | None) -> ClientError:
    """`failure` with what a caller needs to ask further."""
    failure.request_id = request_id
    failure.idempotency_key = key
    return failure
