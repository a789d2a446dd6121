"""Asks the signing service whether a payer approved a payment, and trusts only its signature."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter

import grpc
import structlog

from command_service.admission.signer_keys import AuthorizationKeys
from command_service.admission.signer_link import RETRY_AFTER_MS, SignerLink
from command_service.admission.signer_stream import SignerStream
from paycore.domain.device_key import DeviceSignature
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.pin import SealedPin
from paycore.domain.step_up import (
    AUTHORIZATION_LIFETIME_US,
    Authorization,
    AuthorizationMethod,
    GroupIntent,
    Intent,
    PaymentIntent,
    intent_digest,
)
from paycore.runtime.clock import Clock
from paycore.runtime.errors import from_rpc_error
from paycore.runtime.metric_definitions import SECONDS, histogram, of
from paycore.runtime.metrics import LATENCY_BUCKETS_S
from paycore.signing.v1 import signing_service_pb2 as signing_pb2
from paycore.signing.v1 import signing_service_pb2_grpc as signing_grpc
from paycore.v1 import money_pb2, transfer_pb2

CALL_TIMEOUT_S = 2.0
"""Longest that one question to the signing service takes, in seconds."""

SIGNER_SECONDS = histogram(
    "paycore_command_signer_seconds",
    "Time of a question to the signing service, by outcome: OK, or the reason, in seconds.",
    unit=SECONDS,
    buckets=LATENCY_BUCKETS_S,
    labels={"reason": of("OK", Reason, "CANCELLED")},
)

log = structlog.get_logger()


PASSED_ON = frozenset(
    {
        Reason.PIN_INCORRECT,
        Reason.PIN_LOCKED,
        Reason.AUTHORIZATION_INVALID,
        Reason.AUTHORIZATION_EXPIRED,
        Reason.RATE_LIMITED,
        Reason.OVERLOADED,
    }
)
"""Refusals of the signing service that are meant for the payer as they are."""

AWAY = frozenset(
    {
        Reason.DEADLINE_EXCEEDED,
        Reason.CONTENTION,
        Reason.DATABASE_UNAVAILABLE,
        Reason.SIGNER_UNAVAILABLE,
        Reason.SHUTTING_DOWN,
    }
)
"""Refusals that say it cannot answer now. Any other is a fault between the two services."""

_METHODS: Mapping[int, AuthorizationMethod] = {
    signing_pb2.AUTHORIZATION_METHOD_PIN: AuthorizationMethod.PIN,
    signing_pb2.AUTHORIZATION_METHOD_DEVICE: AuthorizationMethod.DEVICE,
}


class SignerClient:
    """The command service's way to the signing service, over one channel.

    `start` before use: without it nobody notices that the signing service is back.
    """

    def __init__(self, channel: grpc.aio.Channel, clock: Clock) -> None:
        self._link = SignerLink(channel)
        self._stub = signing_grpc.SigningServiceStub(channel)
        self._stream = SignerStream(self._stub, clock)
        self._clock = clock
        self._keys = AuthorizationKeys(self._fetch_keys, clock)

    async def start(self) -> None:
        """Begin to watch it; it need not be there yet."""
        await self._link.start()

    async def stop(self) -> None:
        """Watch no more, ask no more."""
        await self._link.stop()
        await self._stream.stop()

    async def authorize(
        self,
        user_id: str,
        intent: Intent,
        proof: SealedPin | DeviceSignature,
        deadline_s: float,
    ) -> Authorization:
        """The signed statement that `user_id` approved `intent`, verified.

        `user_id` is the owner of the debited account, or of a group's payer, as the ledger records
        it; `deadline_s` is the
        caller's, on the monotonic clock. Raises PaycoreError: PIN_INCORRECT or PIN_LOCKED (with
        attempts_left, locked_until), AUTHORIZATION_INVALID, AUTHORIZATION_EXPIRED, OVERLOADED,
        INVALID_FIELD naming a part of `step_up`, SIGNER_UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL.
        """
        started = perf_counter()
        outcome = "CANCELLED"
        try:
            authorization = await self._authorize(user_id, intent, proof, deadline_s)
            outcome = "OK"
            return authorization
        except PaycoreError as error:
            outcome = error.reason.value
            raise
        finally:
            SIGNER_SECONDS.labels(outcome).observe(perf_counter() - started)

    async def _authorize(
        self,
        user_id: str,
        intent: Intent,
        proof: SealedPin | DeviceSignature,
        deadline_s: float,
    ) -> Authorization:
        timeout_s = min(CALL_TIMEOUT_S, deadline_s - self._clock.monotonic_s())
        if timeout_s <= 0:
            raise PaycoreError(Reason.DEADLINE_EXCEEDED, "the deadline passed before the step-up")
        try:
            digest = intent_digest(intent)
        except ValueError as error:
            raise PaycoreError(
                Reason.AUTHORIZATION_INVALID, "what was approved has no digest", {"why": str(error)}
            ) from error
        try:
            message = await self._link.call(
                self._stream.ask, _request(user_id, intent, proof), timeout_s=timeout_s
            )
        except grpc.RpcError as error:
            raise _translated(error) from error
        authorization = _authorization(message, intent.signed_at_us)
        if authorization.user_id != user_id or authorization.digest != digest:
            raise _untrusted("it is about another user or payment")
        lifetime_us = authorization.expires_at_us - authorization.issued_at_us
        if not 0 < lifetime_us <= AUTHORIZATION_LIFETIME_US:
            raise _untrusted("its lifetime is out of bounds")
        await self._keys.verify(authorization)
        return authorization

    async def _fetch_keys(self) -> dict[str, bytes]:
        try:
            reply = await self._link.call(
                self._stub.GetPublicKeys,
                signing_pb2.GetPublicKeysRequest(),
                timeout_s=CALL_TIMEOUT_S,
            )
        except grpc.RpcError as error:
            raise _translated(error) from error
        return {
            key.key_id: key.public_key
            for key in reply.keys
            if key.purpose == signing_pb2.KEY_PURPOSE_AUTHORIZATION
        }


def _request(
    user_id: str, intent: Intent, proof: SealedPin | DeviceSignature
) -> signing_pb2.AuthorizeRequest:
    request = signing_pb2.AuthorizeRequest(user_id=user_id)
    request.step_up.sign_time.FromMicroseconds(intent.signed_at_us)
    match proof:
        case SealedPin(key_id, ciphertext):
            request.step_up.sealed_pin.key_id = key_id
            request.step_up.sealed_pin.ciphertext = ciphertext
        case DeviceSignature(device_id, signature):
            request.step_up.device_signature.device_id = device_id
            request.step_up.device_signature.signature = signature
    match intent:
        case PaymentIntent():
            payment = request.payment
            payment.kind = _kind(intent.kind)
            payment.debit_account_id = intent.debit_account
            payment.credit_account_id = intent.credit_account
            payment.amount.minor_units = intent.amount
            payment.amount.currency = intent.currency
            payment.client = intent.client
            payment.idempotency_key = intent.idempotency_key
        case GroupIntent():
            group = request.group
            group.client = intent.client
            group.idempotency_key = intent.idempotency_key
            group.payer_account_id = intent.payer
            for leg in intent.legs:
                group.legs.add(
                    kind=_kind(leg.kind),
                    debit_account_id=leg.debit_account,
                    credit_account_id=leg.credit_account,
                    amount=money_pb2.Money(minor_units=leg.amount, currency=leg.currency),
                )
    return request


def _kind(kind: str) -> transfer_pb2.TransferKind.ValueType:
    return transfer_pb2.TransferKind.Value(f"TRANSFER_KIND_{kind}")


def _authorization(message: signing_pb2.Authorization, signed_at_us: int) -> Authorization:
    method = _METHODS.get(message.method)
    if method is None:
        raise _untrusted("its method is unknown")
    return Authorization(
        id=message.id,
        user_id=message.user_id,
        method=method,
        digest=message.digest,
        issued_at_us=message.issue_time.ToMicroseconds(),
        expires_at_us=message.expire_time.ToMicroseconds(),
        key_id=message.key_id,
        signature=message.signature,
        signed_at_us=signed_at_us,
    )


def _translated(error: grpc.RpcError) -> PaycoreError:
    """What the failure of a call to the signing service is to the command service's caller."""
    refusal = from_rpc_error(error)
    if refusal is None:
        # The transport speaks: not reachable, or no answer in time.
        log.warning("signing service gave no answer", error=_code(error))
        return _unavailable(None)
    if refusal.reason in PASSED_ON or _blames_the_proof(refusal):
        return refusal
    if refusal.reason in AWAY:
        return _unavailable(refusal.retry_after_ms)
    log.error("signing service refused unexpectedly", reason=refusal.reason.value)
    return PaycoreError(Reason.INTERNAL, "the signing service refused the question")


def _blames_the_proof(refusal: PaycoreError) -> bool:
    """Whether a request was malformed in the part that the caller made: its `step_up`."""
    return (
        refusal.reason is Reason.INVALID_FIELD
        and bool(refusal.violations)
        and all(violation.field.startswith("step_up") for violation in refusal.violations)
    )


def _unavailable(retry_after_ms: int | None) -> PaycoreError:
    return PaycoreError(
        Reason.SIGNER_UNAVAILABLE,
        "the signing service cannot be reached",
        retry_after_ms=RETRY_AFTER_MS if retry_after_ms is None else retry_after_ms,
    )


def _untrusted(why: str) -> PaycoreError:
    log.error("authorization refused", why=why)
    return PaycoreError(
        Reason.AUTHORIZATION_INVALID, "the authorization is not valid", {"why": why}
    )


def _code(error: grpc.RpcError) -> str:
    code = getattr(error, "code", None)
    return str(code()) if callable(code) else type(error).__name__
