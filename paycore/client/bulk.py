"""A bulk request whose items may need several rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from google.protobuf.message import Message

from paycore.client.calls import Call
from paycore.client.errors import ClientError, RefusedError, is_retryable
from paycore.client.model import BulkReceipt, Receipt, RefusedItem
from paycore.domain.position import Position

Item = TypeVar("Item", bound=Message)
MakeCall = Callable[[list[tuple[str, Item]]], Call[list[Receipt | RefusedItem]]]


class Bulk(Generic[Item, Receipt]):
    """Collects an outcome for each item; what was refused for the moment is sent again.

    Keys make that safe: an item that was done after all answers with what it did.
    """

    def __init__(
        self, items: Sequence[tuple[str, Item]], make_call: MakeCall[Item, Receipt]
    ) -> None:
        self._items = items
        self._make_call = make_call
        self._pending: Sequence[int] = range(len(items))
        self._outcomes: dict[int, Receipt | RefusedItem] = {}

    @property
    def began(self) -> bool:
        """Whether any outcome is known."""
        return bool(self._outcomes)

    def call(self) -> Call[list[Receipt | RefusedItem]]:
        """The next round: every item that has no lasting outcome."""
        return self._make_call([self._items[index] for index in self._pending])

    def absorb(self, outcomes: Sequence[Receipt | RefusedItem]) -> RefusedError | None:
        """Take a round's outcomes; returns why another round is wanted, or None when done."""
        self._outcomes.update(zip(self._pending, outcomes, strict=True))
        again = [
            (index, outcome.error)
            for index, outcome in zip(self._pending, outcomes, strict=True)
            if isinstance(outcome, RefusedItem) and is_retryable(outcome.error, repeatable=True)
        ]
        self._pending = [index for index, _ in again]
        if not again:
            return None
        return max((error for _, error in again), key=lambda error: error.retry_after_ms or 0)

    def give_up(self, failure: ClientError) -> None:
        """Keep what is known; items of the round that failed may have been done by it."""
        for index in self._pending:
            outcome = self._outcomes[index]
            if isinstance(outcome, RefusedItem):
                outcome.error.outcome_unknown |= failure.outcome_unknown

    def receipt(self) -> BulkReceipt[Receipt]:
        """All outcomes, in the order of the items."""
        ordered = tuple(self._outcomes[index] for index in range(len(self._items)))
        positions = {outcome.position for outcome in ordered} - {""}
        return BulkReceipt(ordered, max(positions, key=Position.decode, default=""))
