"""Security events of the service's own keys: what came into the keystore, and what into use.

The keystore has no trail. What a process sees there that the database does not know yet is new.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import structlog

from paycore.domain.errors import PaycoreError
from signing_service.acting import ACTING, Acting
from signing_service.event_kinds import Event
from signing_service.events import SecurityEvent, record
from signing_service.keystore.port import KeyEntry, Keystore
from signing_service.transactions import Transactions

EVERY_S = 5.0
"""How soon after a change-over it is told of, in seconds. Without one nothing is asked."""

PROCESS = Acting("signing", "", "", "", "seen by a process")
"""Who tells of keys that a process finds."""

log = structlog.get_logger()


class KeyWatch:
    """Compares the keys of one process with those that the database knows."""

    def __init__(self, transactions: Transactions, keystore: Keystore) -> None:
        self._transactions = transactions
        self._keystore = keystore
        self._told: Sequence[KeyEntry] | None = None

    async def run(self) -> None:
        """Look now and then, until cancelled."""
        ACTING.set(PROCESS)
        while True:
            try:
                await self.look()
            except (PaycoreError, asyncpg.PostgresError) as error:
                # Told of at the next look, or by the next process: the database forgets nothing.
                log.warning("keys were not looked at", error=type(error).__name__)
            except Exception as error:
                # Whatever it was, keys that go missing later must still be told of.
                log.exception("keys were not looked at", error=type(error).__name__)
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Tell of what is new since the last look. Raises PaycoreError and what asyncpg raises."""
        keys = self._keystore.inventory()
        if keys == self._told:
            return
        async with self._transactions.begin() as connection:
            queries = self._transactions.queries
            if self._told is None:
                ids = [key.key_id for key in keys]
                for row in await queries.find_missing_keys(connection, ids=ids):
                    log.error("a key is not in the keystore any more", key_id=row["id"])
                    reason = f"{row['purpose']} {row['id']}"
                    record(SecurityEvent(Event.KEY_MISSING, None, reason=reason, actor="signing"))
            await know_keys(queries, connection, keys)
            in_use = [key for key in keys if key.current]
            await queries.use_keys(
                connection,
                ids=[key.key_id for key in in_use],
                purposes=[key.purpose.value for key in in_use],
            )
        self._told = keys


async def know_keys(queries: Any, connection: asyncpg.Connection, keys: Sequence[KeyEntry]) -> None:
    """Have the database know `keys`, in the caller's transaction; of new ones it tells."""
    await queries.know_keys(
        connection,
        ids=[key.key_id for key in keys],
        purposes=[key.purpose.value for key in keys],
        active_from_us=[key.active_from_us for key in keys],
    )
