"""External identifiers as the primary has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import asyncpg

from command_service import anew
from command_service.posting.store import UnreachableError
from command_service.transactions import reading
from paycore.domain.accounts import AccountId
from paycore.domain.identifiers import ExternalIdentifier
from paycore.runtime.identifiers import Fetch, find_identifiers


def from_primary(pool: asyncpg.Pool) -> Fetch:
    """Looks identifiers up through `pool`."""

    async def fetch(
        wanted: Sequence[ExternalIdentifier],
    ) -> Mapping[ExternalIdentifier, AccountId]:
        try:
            async with reading(pool) as connection:
                return await find_identifiers(connection, wanted)
        except UnreachableError as error:
            raise anew.database_unavailable() from error

    return fetch
