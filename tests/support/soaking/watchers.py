"""Those who watch accounts all the while: whether an entry is missing, and how soon each came."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

from paycore.client import PaycoreClient
from tests.support.soaking.pace import Seen

KIND = "watch"


@dataclass
class Watched:
    """What watchers heard."""

    versions: dict[int, int] = field(default_factory=dict)
    """The last entry that each account's watcher heard of."""
    heard: list[Seen] = field(default_factory=list)
    """Each entry: when its transfer was made, and how long after it was heard of."""
    breaches: list[str] = field(default_factory=list)


@asynccontextmanager
async def watching(
    client: PaycoreClient, accounts: Sequence[int], began_s: float
) -> AsyncIterator[Watched]:
    """Watch each of `accounts` while the block runs; times count from `began_s`, a wall clock's.

    A watch that ends for good is a breach: our client goes on by itself after anything that passes.
    """
    watched = Watched()

    async def one(account: int) -> None:
        watch = client.watch_transfers(account)
        async with aclosing(watch):
            async for transfer in watch:
                pays = transfer.debit_account == account
                version = transfer.debit_version if pays else transfer.credit_version
                before = watched.versions.get(account)
                if before is not None and version != before + 1:
                    watched.breaches.append(f"account {account}: {version} came after {before}")
                watched.versions[account] = version
                made_s = transfer.created_at.timestamp()
                watched.heard.append(Seen(KIND, made_s - began_s, time.time() - made_s, ""))

    tasks = [asyncio.create_task(one(account)) for account in accounts]
    try:
        yield watched
    finally:
        for task in tasks:
            if task.done():
                watched.breaches.append(f"a watch ended: {task.exception()!r}")
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
