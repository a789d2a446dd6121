"""Whose accounts are, which never changes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import NamedTuple

from command_service import anew
from command_service.admission.payers import AccountReader
from command_service.posting.store import UnreachableError
from paycore.domain.accounts import AccountId, AccountKind

KNOWN_OWNERS = 65_536
"""Accounts that are remembered."""


class Owned(NamedTuple):
    """What of an account decides whose its personal data is."""

    owner: str
    kind: AccountKind


class Owners:
    """Asks the primary once for each account; one that does not exist is not remembered."""

    def __init__(self, accounts: AccountReader, capacity: int = KNOWN_OWNERS) -> None:
        self._accounts = accounts
        self._capacity = capacity
        self._known: OrderedDict[AccountId, Owned] = OrderedDict()

    async def find(self, ids: Collection[AccountId]) -> Mapping[AccountId, Owned]:
        """Those of the accounts that exist. Raises PaycoreError DATABASE_UNAVAILABLE."""
        found: dict[AccountId, Owned] = {}
        unknown = []
        for account_id in ids:
            owned = self._known.get(account_id)
            if owned is None:
                unknown.append(account_id)
            else:
                self._known.move_to_end(account_id)
                found[account_id] = owned
        if unknown:
            try:
                accounts = await self._accounts.read_many(unknown)
            except UnreachableError as error:
                raise anew.database_unavailable() from error
            fetched = {key: Owned(one.owner, one.kind) for key, one in accounts.items()}
            found.update(fetched)
            self._known.update(fetched)
            while len(self._known) > self._capacity:
                self._known.popitem(last=False)
        return found
