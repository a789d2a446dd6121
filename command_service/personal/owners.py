"""Whose accounts are, which never changes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from command_service import anew
from command_service.admission.payers import AccountReader
from command_service.posting.store import UnreachableError
from paycore.domain.accounts import AccountId, AccountKind
from paycore.domain.errors import PaycoreError
from paycore.runtime.coalesced import Coalesced

KNOWN_OWNERS = 65_536
"""Accounts that are remembered."""


AT_ONCE = 1_000
"""Accounts that are read at once."""

MOST_WAITING = 50_000
"""Accounts that may be asked for at the same time; beyond them OVERLOADED."""

GATHER_S = 0.008
"""How long a busy process lets questions gather, in seconds."""

WITHIN_S = 5.0
"""How long a payment waits for its accounts' owners, in seconds."""


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
        self._reading = Coalesced(
            self._read, at_once=AT_ONCE, most_waiting=MOST_WAITING, gather_s=GATHER_S
        )

    async def find(self, ids: Collection[AccountId]) -> Mapping[AccountId, Owned]:
        """Those of the accounts that exist.

        Raises PaycoreError DATABASE_UNAVAILABLE or OVERLOADED.
        """
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
            late = anew.database_unavailable()
            for account_id, answer in (await self._reading.get(unknown, WITHIN_S, late)).items():
                match answer:
                    case PaycoreError():
                        raise answer
                    case Owned():
                        found[account_id] = answer
        return found

    async def _read(
        self, ids: Sequence[AccountId]
    ) -> Mapping[AccountId, Owned | PaycoreError | None]:
        try:
            accounts = await self._accounts.read_many(ids)
        except UnreachableError:
            return dict.fromkeys(ids, anew.database_unavailable())
        fetched = {key: Owned(one.owner, one.kind) for key, one in accounts.items()}
        self._known.update(fetched)
        while len(self._known) > self._capacity:
            self._known.popitem(last=False)
        return {account_id: fetched.get(account_id) for account_id in ids}
