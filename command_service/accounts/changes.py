"""Changing one account at a time: its status, its limit, its names outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import asyncpg

from command_service.accounts.acting import Acting, act_as
from command_service.accounts.commands import (
    AccountChange,
    AccountRefused,
    AccountStored,
    ChangeStatus,
    LinkIdentifier,
    SetLimit,
)
from command_service.accounts.keys import AccountKeys, Described
from command_service.posting.store import ConflictError
from paycore.domain.account_changes import check_limit, check_link, check_revision, check_status
from paycore.domain.accounts import Account
from paycore.domain.errors import PaycoreError, Reason, account_not_found
from paycore.domain.grants import GrantAction
from paycore.runtime.identifiers import find_identifiers


class _Terms(NamedTuple):
    """What a kind of change needs, and under which kind of outcome it is stored."""

    grant: GrantAction
    outcome: str
    purpose: str


_TERMS: Mapping[type[AccountChange], _Terms] = {
    ChangeStatus: _Terms(GrantAction.SET_STATUS, "ACCOUNT_STATUS", "set the status of"),
    SetLimit: _Terms(GrantAction.SET_OVERDRAFT, "ACCOUNT_LIMIT", "set the overdraft limit of"),
    LinkIdentifier: _Terms(
        GrantAction.LINK_IDENTIFIER, "ACCOUNT_IDENTIFIER", "link identifiers to"
    ),
}


class AccountChanges:
    """Decides changes and writes them, within the caller's transaction."""

    def __init__(self, queries: Any, keys: AccountKeys) -> None:
        """`queries` are those of accounts.sql."""
        self._queries = queries
        self._keys = keys

    async def change(
        self,
        connection: asyncpg.Connection,
        command: AccountChange,
        acting: Acting,
        journal_id: int,
        audit_id: int,
        now_us: int,
    ) -> tuple[AccountStored, int | None]:
        """The account after the change, and the journal's xid where something was written.

        Raises PaycoreError for every refusal, and ConflictError where it has to be decided anew.
        """
        # Waits for whoever changes the account now; what is read afterwards, they have left.
        locked = await self._queries.lock_account(connection, id=command.account)
        key = (command.client, command.key)
        stored = await self._keys.find(connection, [key])
        if key in stored:
            outcome = self._keys.replay(command, stored[key])
            if isinstance(outcome, AccountRefused):
                raise outcome.error
            return outcome, None
        if locked is None:
            raise account_not_found(command.account)
        before = (await self._keys.describe(connection, [command.account]))[command.account]
        terms = _TERMS[type(command)]
        self._check_grant(command, before.account, terms)
        reason = "" if isinstance(command, LinkIdentifier) else command.reason
        await act_as(self._queries, connection, acting, reason=reason, audit_id=audit_id)
        after = await self._apply(connection, command, before.account, now_us)
        xid = await self._keys.write(
            connection, terms.outcome, [(command, after)], journal_id, now_us
        )
        described = Described(after, before.metadata)
        return self._keys.outcome(command.client, described, None, replayed=False), xid

    async def _apply(
        self,
        connection: asyncpg.Connection,
        command: AccountChange,
        account: Account,
        now_us: int,
    ) -> Account:
        readable = self._keys.may_read(command.client, account)
        match command:
            case ChangeStatus():
                check_revision(account, command.expected_revision, readable=readable)
                check_status(account, command.status)
                revision = await self._queries.set_status(
                    connection,
                    id=account.id,
                    status=command.status,
                    revision_read=account.revision,
                )
                return _raised(account._replace(status=command.status), revision)
            case SetLimit():
                check_revision(account, command.expected_revision, readable=readable)
                check_limit(account, command.limit, readable=readable)
                revision = await self._queries.set_limit(
                    connection, id=account.id, limit=command.limit, revision_read=account.revision
                )
                return _raised(account._replace(overdraft_limit=command.limit), revision)
            case LinkIdentifier():
                await self._link(connection, command, account, now_us)
                revision = await self._queries.raise_revision(
                    connection, id=account.id, revision_read=account.revision
                )
                return _raised(account, revision)

    async def _link(
        self,
        connection: asyncpg.Connection,
        command: LinkIdentifier,
        account: Account,
        now_us: int,
    ) -> None:
        wanted = command.identifier
        owners = await find_identifiers(connection, [wanted])
        linked = await self._queries.identifiers_of(connection, account=account.id)
        check_link(
            account,
            wanted,
            owners.get(wanted),
            {row["scheme"]: row["value"] for row in linked},
        )
        done = await self._queries.link_identifier(
            connection,
            account=account.id,
            scheme=wanted.scheme,
            value=wanted.value,
            created_us=now_us,
        )
        if done is None:
            raise ConflictError("another process linked the identifier")

    def _check_grant(self, command: AccountChange, account: Account, terms: _Terms) -> None:
        if not self._keys.allows(command.client, terms.grant, account):
            raise PaycoreError(
                Reason.NOT_PERMITTED,
                f"{command.client} may not {terms.purpose} account {account.id}",
                {"account": str(account.id), "grant": terms.grant},
            )
        if isinstance(command, LinkIdentifier):
            self._check_scheme(command.client, command.identifier.scheme)

    def _check_scheme(self, client: str, scheme: str) -> None:
        # Whoever links a name has it for ever: a client may not take those of somebody else's.
        if not self._keys.may_link(client, scheme):
            raise PaycoreError(
                Reason.NOT_PERMITTED,
                f"{client} may not link identifiers of the scheme {scheme}",
                {"grant": GrantAction.LINK_IDENTIFIER, "scheme": scheme},
            )


def _raised(account: Account, revision: int | None) -> Account:
    if revision is None:
        raise ConflictError("the account changed under its lock")
    return account._replace(revision=revision)
