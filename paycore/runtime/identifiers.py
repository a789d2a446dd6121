"""Accounts named by external identifiers: looked up before anything else is done with a request."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import asyncpg

import database
from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, identifier_not_found
from paycore.domain.identifiers import ExternalIdentifier, is_scheme, is_value
from paycore.runtime.account_names import Named

KNOWN_IDENTIFIERS = 65_536
"""Identifiers whose account is remembered: a link is for ever."""

Fetch = Callable[[Sequence[ExternalIdentifier]], Awaitable[Mapping[ExternalIdentifier, AccountId]]]
"""Asks the database for those that are linked. Raises PaycoreError DATABASE_UNAVAILABLE."""


_QUERIES: Any = database.load("identifiers")


async def find_identifiers(
    connection: asyncpg.Connection, wanted: Sequence[ExternalIdentifier]
) -> Mapping[ExternalIdentifier, AccountId]:
    """The accounts of those of `wanted` that are linked. Raises what asyncpg raises."""
    found = await _QUERIES.find_identifiers(
        connection,
        schemes=[one.scheme for one in wanted],
        values=[one.value for one in wanted],
    )
    return {
        ExternalIdentifier(row["scheme"], row["value"]): AccountId(row["account"]) for row in found
    }


class Identifiers:
    """Resolves external identifiers. One that is linked is remembered; one that is not, is not."""

    def __init__(self, fetch: Fetch, capacity: int = KNOWN_IDENTIFIERS) -> None:
        self._fetch = fetch
        self._capacity = capacity
        self._known: OrderedDict[ExternalIdentifier, AccountId] = OrderedDict()

    async def find(
        self, wanted: Sequence[ExternalIdentifier]
    ) -> dict[ExternalIdentifier, AccountId]:
        """The accounts of those that are linked; all unknown ones are asked for at once.

        Raises PaycoreError DATABASE_UNAVAILABLE.
        """
        found: dict[ExternalIdentifier, AccountId] = {}
        unknown: dict[ExternalIdentifier, None] = {}
        for one in wanted:
            account = self._known.get(one)
            if account is None:
                unknown[one] = None
            else:
                self._known.move_to_end(one)
                found[one] = account
        if unknown:
            fetched = await self._fetch(list(unknown))
            found.update(fetched)
            self._known.update(fetched)
            while len(self._known) > self._capacity:
                self._known.popitem(last=False)
        return found

    async def name_by_id(self, request: Any, *places: Named) -> None:
        """Put ids in the place of the identifiers by which `request` names accounts.

        An identifier that is malformed stays, for whoever checks the fields. Raises PaycoreError
        ACCOUNT_NOT_FOUND for one that no account has, and DATABASE_UNAVAILABLE.
        """
        for error in (await self.name_all_by_id([request], *places)).values():
            raise error

    async def name_all_by_id(
        self, requests: Sequence[Any], *places: Named
    ) -> dict[int, PaycoreError]:
        """The same for many messages; ACCOUNT_NOT_FOUND by the place of each that gets it.

        Raises PaycoreError DATABASE_UNAVAILABLE.
        """
        # Nearly all requests name all their accounts by id: those are told apart at little cost.
        wanted = [
            (index, requests[index], place, identifier)
            for place in places
            for index, account in enumerate(map(attrgetter(place.by_id), requests))
            if not account and (identifier := _identifier(requests[index], place)) is not None
        ]
        if not wanted:
            return {}
        found = await self.find([identifier for *_, identifier in wanted])
        refused: dict[int, PaycoreError] = {}
        for index, request, place, identifier in wanted:
            account = found.get(identifier)
            if account is not None:
                setattr(request, place.by_id, account)
            elif index not in refused:
                refused[index] = identifier_not_found(identifier)
        return refused


def _identifier(request: Any, place: Named) -> ExternalIdentifier | None:
    """The well-formed identifier in `place`, or None."""
    if not request.HasField(place.by_identifier):
        return None
    message = getattr(request, place.by_identifier)
    if not (is_scheme(message.scheme) and is_value(message.value)):
        return None
    return ExternalIdentifier(message.scheme, message.value)
