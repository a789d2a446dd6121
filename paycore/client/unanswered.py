"""The orders of a stream that have no outcome yet: which to send, which rest, which to give up."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from paycore.client import replies
from paycore.client.errors import ClientError, UnexpectedReplyError
from paycore.client.model import RefusedItem, TransferReceipt
from paycore.client.retries import Attempts
from paycore.v1 import transfer_pb2
from paycore.v1 import transfer_service_pb2 as pb2


@dataclass(slots=True)
class _Order:
    request: pb2.SubmitTransferRequest
    attempts: Attempts
    rest: asyncio.TimerHandle | None = None
    """Set while it waits to be sent again."""


class Unanswered:
    """Orders under way by key. What was refused for the moment goes out again after a pause, and
    what a broken connection left open goes out over the next one."""

    def __init__(self, new_attempts: Callable[[], Attempts]) -> None:
        self._new_attempts = new_attempts
        self._orders: dict[str, _Order] = {}
        self._unsent: deque[str] = deque()
        self._resting = 0
        self.changed = asyncio.Event()
        """Set when there may be something to send."""
        self.shrunk = asyncio.Event()
        """Set when an order was answered."""

    def __len__(self) -> int:
        return len(self._orders)

    def keys(self) -> tuple[str, ...]:
        """Of all orders without an outcome, the oldest first."""
        return tuple(self._orders)

    @property
    def awaited(self) -> bool:
        """Whether any order is sent and neither answered nor resting."""
        return len(self._orders) > len(self._unsent) + self._resting

    def add(self, key: str, request: pb2.SubmitTransferRequest) -> None:
        """A new order. Raises ValueError when one with this key is under way."""
        if key in self._orders:
            raise ValueError(f"an order with the key {key} is under way")
        self._orders[key] = _Order(request, self._new_attempts())
        self._unsent.append(key)
        self.changed.set()

    def take(self, most: int) -> list[pb2.SubmitTransferRequest]:
        """Up to `most` orders to send now."""
        unsent = self._unsent
        return [self._orders[unsent.popleft()].request for _ in range(min(most, len(unsent)))]

    def settle(self, message: transfer_pb2.TransferOutcome) -> TransferReceipt | RefusedItem | None:
        """The outcome that `message` tells; None where the order is sent again.

        Raises UnexpectedReplyError when no order with its key is under way.
        """
        key = message.idempotency_key
        order = self._orders.get(key)
        if order is None:
            raise UnexpectedReplyError(f"an outcome of an order that was not sent: {key}")
        outcome = replies.transfer_outcome(message, key)
        if isinstance(outcome, RefusedItem):
            outcome.error.idempotency_key = key
            pause_s = order.attempts.pause_or_none_s(outcome.error)
            if pause_s is not None:
                self._resting += 1
                loop = asyncio.get_running_loop()
                order.rest = loop.call_later(pause_s, self._send_again, key)
                return None
        del self._orders[key]
        self.shrunk.set()
        return outcome

    def reopen(self, failure: ClientError) -> None:
        """The connection broke with `failure`: what was sent over it goes out again."""
        unsent = set(self._unsent)
        for key, order in self._orders.items():
            if key not in unsent and order.rest is None:
                # Only for what it remembers: whether the order may have been carried out.
                order.attempts.pause_or_none_s(failure)
        self._unsent = deque(key for key, order in self._orders.items() if order.rest is None)
        self.changed.set()

    def close(self) -> None:
        """Forget what was to be sent again."""
        for order in self._orders.values():
            if order.rest is not None:
                order.rest.cancel()

    def _send_again(self, key: str) -> None:
        self._orders[key].rest = None
        self._resting -= 1
        self._unsent.append(key)
        self.changed.set()
