"""Groups, holds, and what follows a transfer: methods of the blocking client."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TypeVar

from paycore.client import calls, model
from paycore.client.calls import Call
from paycore.client.core import Core, Order
from paycore.client.errors import AuthorizationInvalidError
from paycore.domain.pin import Pin

Answer = TypeVar("Answer")
NO_NOTE = model.Note()


class BlockingMovements(ABC):
    """Part of `BlockingPaycoreClient`."""

    _core: Core

    @abstractmethod
    def seal_pin(self, order: Order, pin: Pin) -> model.StepUpProof:
        """The payer's approval of `order`."""

    @abstractmethod
    def _run(self, call: Call[Answer]) -> Answer:
        """Send `call` until it has an answer that lasts."""

    def submit_transfer_group(
        self,
        orders: Sequence[model.TransferOrder],
        *,
        actor: model.Actor | None = None,
        proofs: Mapping[int, model.StepUpProof] | None = None,
        idempotency_key: str | None = None,
    ) -> model.GroupReceipt:
        """Move money 1 to 1,000 times in this order, all or nothing.

        Neither the key nor the actor is an item's own (ValueError). A refusal names the `item` that
        failed and, where money lacks, the `shortfall` of its payer. `proofs` are by the id of the
        account that pays, sealed for its part of the group (`SealingKey.for_group`).
        """
        key = self._core.key(idempotency_key)
        return self._run(calls.submit_transfer_group(orders, actor, key, proofs or {}))

    def hold_funds(
        self,
        order: model.HoldOrder,
        *,
        pin: Pin | None = None,
        proof: model.StepUpProof | None = None,
    ) -> model.TransferReceipt:
        """Set money aside until it is captured or released, or its time is up."""
        order, key = self._core.keyed(order)
        if pin is not None:
            proof = self.seal_pin(order, pin)
        try:
            return self._run(calls.hold_funds(order, key, proof))
        except AuthorizationInvalidError:
            self._core.forget_sealing_key()
            raise

    def capture_hold(
        self,
        hold: int,
        amount: model.Money | None = None,
        *,
        final: bool = True,
        note: model.Note = NO_NOTE,
        idempotency_key: str | None = None,
    ) -> model.TransferReceipt:
        """Move held money to the payee: `amount`, or all that is left.

        The rest is freed, unless `final` is false: then it stays held.
        """
        key = self._core.key(idempotency_key)
        return self._run(calls.capture_hold(hold, amount, final, note, key))

    def release_hold(
        self, hold: int, *, note: model.Note = NO_NOTE, idempotency_key: str | None = None
    ) -> model.TransferReceipt:
        """Free what is still held."""
        key = self._core.key(idempotency_key)
        return self._run(calls.release_hold(hold, note, key))

    def refund_transfer(
        self,
        transfer: int,
        amount: model.Money | None = None,
        *,
        note: model.Note = NO_NOTE,
        idempotency_key: str | None = None,
    ) -> model.TransferReceipt:
        """Give `amount` of a payment back, or all that is left of it; never more than it moved."""
        key = self._core.key(idempotency_key)
        return self._run(calls.refund_transfer(transfer, amount, note, key))

    def reverse_transfer(
        self,
        transfer: int,
        reason: str,
        *,
        reference: str = "",
        actor: model.Actor | None = None,
        idempotency_key: str | None = None,
    ) -> model.TransferReceipt:
        """Undo a transfer whole. Raises InsufficientFundsError where the payee has not enough."""
        key = self._core.key(idempotency_key)
        return self._run(calls.reverse_transfer(transfer, reason, reference, actor, key))

    def approve_review(
        self,
        transfer: int,
        reason: str,
        *,
        actor: model.Actor | None = None,
        idempotency_key: str | None = None,
    ) -> model.TransferReceipt:
        """Let a payment go on that was held for review: the receipt is of its capture."""
        key = self._core.key(idempotency_key)
        return self._run(calls.approve_review(transfer, reason, actor, key))

    def refuse_review(
        self,
        transfer: int,
        reason: str,
        *,
        actor: model.Actor | None = None,
        idempotency_key: str | None = None,
    ) -> model.TransferReceipt:
        """Roll a payment back that was held for review: the receipt is of its release."""
        key = self._core.key(idempotency_key)
        return self._run(calls.refuse_review(transfer, reason, actor, key))
