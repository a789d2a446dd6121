"""External identifiers as the ledger has them, on connections of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import asyncpg

from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.identifiers import ExternalIdentifier
from paycore.runtime.database import DISCONNECTED, LazyPool
from paycore.runtime.identifiers import find_identifiers
from paycore.runtime.pools import PoolName

CONNECTIONS = 2
READ_TIMEOUT_S = 2.0
"""How long an answer may take, with the connection that it needs, in seconds."""


class LedgerIdentifiers:
    """Looks identifiers up. A link is seen as soon as the ledger that is asked has it."""

    def __init__(self, dsn: str) -> None:
        self._pool = LazyPool(
            dsn,
            size=CONNECTIONS,
            name=PoolName.IDENTIFIERS,
            application="query-identifiers",
            command_timeout_s=READ_TIMEOUT_S,
        )

    async def fetch(
        self, wanted: Sequence[ExternalIdentifier]
    ) -> Mapping[ExternalIdentifier, AccountId]:
        """Those of `wanted` that are linked. Raises PaycoreError DATABASE_UNAVAILABLE."""
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                pool = await self._pool.get()
                async with pool.acquire() as connection:
                    return await find_identifiers(connection, wanted)
        except (*DISCONNECTED, asyncpg.PostgresError) as error:
            raise PaycoreError(
                Reason.DATABASE_UNAVAILABLE, "the ledger cannot be reached", retry_after_ms=250
            ) from error

    async def close(self) -> None:
        """Close the connections, within READ_TIMEOUT_S."""
        await self._pool.close()
