"""The queue before the engine: bounded, and shared fairly between clients."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Generic, TypeVar

T = TypeVar("T")


class Verdict(Enum):
    """What becomes of an item that is looked at."""

    TAKE = "take"
    """It goes into the batch."""
    WAIT = "wait"
    """It cannot run now; it keeps its place before whatever comes later."""
    DROP = "drop"
    """It has been dealt with."""


class FairQueue(Generic[T]):
    """Clients take turns, one item each; within a client the order is that of arrival.

    An item that had to wait is looked at before all that were never looked at, so that it can
    reserve what it needs, and cannot starve.
    """

    def __init__(self, limit: int, weigh: Callable[[T], int]) -> None:
        """`limit` is the most that all items may weigh, as `weigh` says of each: at least 1."""
        self._limit = limit
        self._weigh = weigh
        self._by_client: dict[str, deque[T]] = {}
        self._turns: deque[str] = deque()
        self._waiting: deque[tuple[str, T]] = deque()
        self._waiting_counts: dict[str, int] = {}
        self._weights: dict[str, int] = {}
        self._size = 0

    def __len__(self) -> int:
        """The weight of all items."""
        return self._size

    def room(self, client: str) -> int:
        """How much the items weigh at most that `client` may add; never below zero.

        It may have as much as there is room left: alone it fills half of the queue, and there is
        always some room for those who have less in it.
        """
        return max(0, self._limit - self._size - self._weights.get(client, 0))

    def add(self, client: str, items: Sequence[T]) -> None:
        """Append `items`; ask for `room` first."""
        queue = self._by_client.get(client)
        if queue is None:
            queue = self._by_client[client] = deque()
            self._turns.append(client)
        queue.extend(items)
        weight = sum(map(self._weigh, items))
        self._weights[client] = self._weights.get(client, 0) + weight
        self._size += weight

    def take(
        self,
        most: int,
        most_waiting: int,
        judge: Callable[[T], Verdict],
        reserve: Callable[[T], None],
    ) -> list[T]:
        """Items that may run, as `judge` says, until they weigh `most` or more; the rest stays.

        `reserve` is called for each item that was looked at and stays, before a later one is
        judged. At most `most_waiting` of a client stay so; half of the batch is left to items that
        are looked at for the first time.
        """
        batch: list[T] = []
        taken = self._take_waiting(batch, most - most // 2, judge, reserve)
        turns, barred = self._turns, []
        while turns and taken < most:
            client = turns.popleft()
            if self._waiting_counts.get(client, 0) >= most_waiting:
                barred.append(client)
                continue
            queue = self._by_client[client]
            # One that is gone does not cost its client the turn.
            while queue:
                item = queue.popleft()
                verdict = judge(item)
                if verdict is Verdict.WAIT:
                    reserve(item)
                    self._waiting.append((client, item))
                    self._waiting_counts[client] = self._waiting_counts.get(client, 0) + 1
                    break
                weight = self._leave(client, item)
                if verdict is Verdict.TAKE:
                    batch.append(item)
                    taken += weight
                    break
            if queue:
                turns.append(client)
            else:
                del self._by_client[client]
        turns.extend(barred)
        return batch

    def take_light(
        self,
        lightest: int,
        most: int,
        judge: Callable[[T], Verdict],
        reserve: Callable[[T], None],
    ) -> list[T]:
        """As `take`, only of clients whose items weigh `lightest` or less, and none that waited."""
        light = [client for client in self._turns if self._weights[client] <= lightest]
        if not light:
            return []
        for _, item in self._waiting:
            reserve(item)
        batch: list[T] = []
        taken = 0
        for client in light:
            queue = self._by_client[client]
            while queue and taken < most:
                verdict = judge(queue[0])
                if verdict is Verdict.WAIT:
                    reserve(queue[0])
                    break
                item = queue.popleft()
                weight = self._leave(client, item)
                if verdict is Verdict.TAKE:
                    batch.append(item)
                    taken += weight
            if not queue:
                del self._by_client[client]
                self._turns.remove(client)
        return batch

    def _take_waiting(
        self,
        batch: list[T],
        most: int,
        judge: Callable[[T], Verdict],
        reserve: Callable[[T], None],
    ) -> int:
        """As `take`, of those that were looked at before; the weight of what it took."""
        taken = 0
        kept: deque[tuple[str, T]] = deque()
        counts: dict[str, int] = {}
        for client, item in self._waiting:
            verdict = judge(item) if taken < most else Verdict.WAIT
            if verdict is Verdict.WAIT:
                reserve(item)
                kept.append((client, item))
                counts[client] = counts.get(client, 0) + 1
                continue
            weight = self._leave(client, item)
            if verdict is Verdict.TAKE:
                batch.append(item)
                taken += weight
        self._waiting, self._waiting_counts = kept, counts
        return taken

    def _leave(self, client: str, item: T) -> int:
        weight = self._weigh(item)
        self._size -= weight
        self._weights[client] -= weight
        if not self._weights[client]:
            del self._weights[client]
        return weight
