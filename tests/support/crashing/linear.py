"""Whether reads and transfers of accounts can have happened one after the other.

Every entry of an account has a version, and every read tells the version that it saw. That makes
the search for an order, which is hard for registers without versions, one pass:

- Of one account: entries take effect in the order of their versions, each between the moment when
  it was asked for and the one when its client heard of it; a read of version v takes effect after
  entry v and before entry v + 1, between its own begin and end. Giving each the earliest moment
  that those before it leave is the best that can be done: if that fails, no order exists.
- Across accounts: both legs of a transfer take effect at once. Who has seen one of them, in a read
  that ended, or was told, never again sees the other account without it.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

NEVER_S = float("inf")
ALWAYS_S = float("-inf")


@dataclass(frozen=True, slots=True)
class Read:
    """An account as an answer showed it, and when the question and the answer were."""

    account: int
    began_s: float
    ended_s: float
    version: int
    balance: int


class Mark(NamedTuple):
    """What a transfer left on an account."""

    account: int
    version: int
    balance: int


@dataclass(frozen=True, slots=True)
class Write:
    """A transfer that is in the tables, when it was asked for and when its client heard of it.

    ALWAYS_S where it was there before the history, NEVER_S where nobody heard of it.
    """

    began_s: float
    ended_s: float
    marks: tuple[Mark, ...]


def order_breaches(reads: Sequence[Read], writes: Sequence[Write]) -> Iterator[str]:
    """Why there is no order in which all can have happened; nothing where there is one."""
    by_account: dict[int, dict[int, tuple[Write, Mark]]] = defaultdict(dict)
    for write in writes:
        for mark in write.marks:
            by_account[mark.account][mark.version] = (write, mark)
    read_of: dict[int, dict[int, list[Read]]] = defaultdict(lambda: defaultdict(list))
    for read in reads:
        read_of[read.account][read.version].append(read)
    for account, found in read_of.items():
        yield from _of_account(account, found, by_account[account])
    yield from _torn(reads, writes, by_account)


def _of_account(
    account: int, reads: dict[int, list[Read]], entries: dict[int, tuple[Write, Mark]]
) -> Iterator[str]:
    now_s = ALWAYS_S
    for version in range(max([*reads, *entries], default=0) + 1):
        due = 0
        if version:
            if version not in entries:
                if version in reads:
                    yield f"account {account} was read at version {version}, which does not exist"
                continue
            write, mark = entries[version]
            now_s, due = max(now_s, write.began_s), mark.balance
            if now_s > write.ended_s:
                yield (
                    f"account {account}: version {version} was acknowledged"
                    f" {now_s - write.ended_s:.3f} s before what comes before it"
                )
        latest_s = now_s
        for read in reads.get(version, ()):
            if read.balance != due:
                yield f"account {account}: version {version} was read as {read.balance}, is {due}"
            at_s = max(now_s, read.began_s)
            if at_s > read.ended_s:
                yield (
                    f"account {account}: version {version} was read"
                    f" {at_s - read.ended_s:.3f} s before it can have been there"
                )
            latest_s = max(latest_s, at_s)
        now_s = latest_s


def _torn(
    reads: Sequence[Read],
    writes: Sequence[Write],
    by_account: dict[int, dict[int, tuple[Write, Mark]]],
) -> Iterator[str]:
    seen: dict[int, int] = defaultdict(int)
    ends: list[tuple[float, int, Iterable[tuple[int, int]]]] = []
    for number, read in enumerate(reads):
        ends.append((read.ended_s, number, ((read.account, read.version),)))
    for number, write in enumerate(writes, start=len(reads)):
        if write.ended_s != NEVER_S:
            ends.append((write.ended_s, number, [(m.account, m.version) for m in write.marks]))
    heapq.heapify(ends)
    for read in sorted(reads, key=lambda one: one.began_s):
        while ends and ends[0][0] < read.began_s:
            _, _, marks = heapq.heappop(ends)
            _see(marks, seen, by_account)
        if read.version < seen[read.account]:
            yield (
                f"account {read.account} was read at version {read.version}"
                f" after its version {seen[read.account]} was known"
            )


def _see(
    marks: Iterable[tuple[int, int]],
    seen: dict[int, int],
    by_account: dict[int, dict[int, tuple[Write, Mark]]],
) -> None:
    """Whoever has seen a version has seen all before it, and the other legs of all of them."""
    todo = list(marks)
    while todo:
        account, version = todo.pop()
        for one in range(seen[account] + 1, version + 1):
            if one in by_account[account]:
                write, _ = by_account[account][one]
                todo.extend((m.account, m.version) for m in write.marks if m.account != account)
        seen[account] = max(seen[account], version)
