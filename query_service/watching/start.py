"""Where a watch begins that is to follow a position."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from paycore.domain.accounts import AccountId
from paycore.domain.position import Position
from paycore.runtime.clock import Clock
from query_service.watching.port import LAST_ID, DeclinePlace, Place, WatchedLedger
from query_service.watching.tail import history_replaced
from query_service.watching.watch import behind

CLOCKS_APART_US = 120_000_000
"""How far the time of a journal row may lie from that of entries of transactions that ran beside
its own: the longest that a transaction may take, and what clocks of processes differ by."""

ENTRIES_A_LOOK = 5_000
REACHED_WITHIN_S = 5.0
_PAUSE_S = 0.05


async def place_after(
    ledger: WatchedLedger, clock: Clock, account: AccountId, position: Position
) -> Place:
    """The place before the first of the account's entries that stands after `position`.

    Entries have the order of versions, which is not that of the journal: an entry behind that one
    may stand at `position` or before it. Raises PaycoreError HISTORY_REPLACED, ACCOUNT_NOT_FOUND,
    and DATABASE_UNAVAILABLE when the ledger does not come to the position.
    """
    give_up_s = clock.monotonic_s() + REACHED_WITHIN_S
    while (now := await ledger.account_now(account)).complete_below <= position.xid:
        if position.epoch != now.position.epoch:
            break
        if clock.monotonic_s() > give_up_s:
            raise behind()
        await asyncio.sleep(_PAUSE_S)
    if position.epoch != now.position.epoch:
        raise history_replaced(now.position.epoch)
    decline = DeclinePlace(position.xid, LAST_ID)
    time_us = await ledger.journal_time_us(position)
    if time_us is None:
        return Place(0, decline)

    async def posted_from(bound_us: int) -> int:
        async def is_from(version: int) -> bool:
            return await ledger.entry_time_us(account, version) >= bound_us

        return await _first(now.version + 1, is_from)

    # Of an account, order of time is order of version: what lies outside these two is decided.
    low = await posted_from(time_us - CLOCKS_APART_US)
    high = await posted_from(time_us + CLOCKS_APART_US + 1)
    for above in range(low - 1, high - 1, ENTRIES_A_LOOK):
        up_to = min(above + ENTRIES_A_LOOK, high - 1)
        found = await ledger.first_entry_after(account, above, up_to, position.xid)
        if found is not None:
            return Place(found - 1, decline)
    return Place(high - 1, decline)


async def _first(end: int, holds: Callable[[int], Awaitable[bool]]) -> int:
    """The first from 1 on, below `end`, from which on `holds` does; `end` where none is."""
    low, high = 1, end
    while low < high:
        middle = (low + high) // 2
        if await holds(middle):
            high = middle
        else:
            low = middle + 1
    return low
