"""The payers of payments about which something has to be asked before they are queued."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from command_service import anew
from command_service.posting.store import LedgerStore, UnreachableError
from paycore.domain.accounts import Account, AccountId
from paycore.domain.plan import Key
from paycore.domain.rules import Rules
from paycore.domain.transfers import TransferCommand
from paycore.runtime.together import Together

AT_ONCE = 500
"""Payments that are looked for at once."""

MOST_WAITING = 10_000
"""Payments of one process that wait to be looked for; beyond them none is let through."""

GATHER_S = 0.008
"""How long a busy process lets payments gather, in seconds."""


class AccountReader(Protocol):
    """Reads accounts from the primary."""

    async def read_many(self, ids: Sequence[AccountId]) -> dict[AccountId, Account]:
        """Those of the accounts that exist. Raises UnreachableError."""
        ...


class Payers:
    """Finds them by one look; lone payments that wait at the same time share it."""

    def __init__(
        self, store: LedgerStore, accounts: AccountReader, rules: Callable[[], Rules]
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._rules = rules
        self._lone = Together(
            self._find_lone,
            at_once=AT_ONCE,
            most_waiting=MOST_WAITING,
            gather_s=GATHER_S,
            refusal=anew.database_unavailable,
        )

    async def find(
        self, client: str, key: str, commands: Sequence[TransferCommand]
    ) -> Mapping[int, Account]:
        """By its place among `commands`, which share `key`, the payer of each to be asked about.

        Nobody is asked where the key has an outcome, which is the answer, nor where the plan will
        refuse: the account is unknown, or `client` may not debit it, and so must neither use up its
        owner's attempts nor learn what is thought of it. Raises PaycoreError DATABASE_UNAVAILABLE.
        """
        try:
            match commands:
                case [command]:
                    payer = await self._lone.ask(((client, key), command.debit_account))
                    payers = {} if payer is None else {payer.id: payer}
                case _:
                    if await self._store.find(client, key) is not None:
                        return {}
                    payers = await self._accounts.read_many(
                        list({command.debit_account for command in commands})
                    )
        except UnreachableError as error:
            raise anew.database_unavailable() from error
        grants = self._rules().grants
        found: dict[int, Account] = {}
        for place, command in enumerate(commands):
            payer = payers.get(command.debit_account)
            if payer is not None and grants.allows(
                client, command.kind, opened_by=payer.opened_by, institution=payer.institution
            ):
                found[place] = payer
        return found

    async def _find_lone(self, asked: Sequence[tuple[Key, AccountId]]) -> list[Account | None]:
        payers = await self._store.find_payers(asked)
        return [payers.get(place) for place in range(len(asked))]
