"""From outcomes of account commands to messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from command_service.accounts.commands import AccountOutcome, AccountStored
from command_service.servicers.transfer_replies import timestamp
from paycore.domain.accounts import Account, AccountKind, AccountStatus
from paycore.runtime.errors import to_status
from paycore.v1 import account_pb2
from paycore.v1 import account_service_pb2 as pb2

_KIND_CODES = {kind: account_pb2.AccountKind.Value(f"ACCOUNT_KIND_{kind}") for kind in AccountKind}
_STATUS_CODES = {
    status: account_pb2.AccountStatus.Value(f"ACCOUNT_STATUS_{status}") for status in AccountStatus
}


class AccountReply(Protocol):
    """What every reply to a single account command has."""

    position: str
    replayed: bool

    @property
    def account(self) -> account_pb2.Account: ...


def fill_account(reply: AccountReply, stored: AccountStored) -> None:
    """Put the account as it stands after the command into `reply`."""
    reply.account.CopyFrom(_stored_message(stored))
    reply.position = _position(stored)
    reply.replayed = stored.replayed


def bulk_reply(outcomes: Sequence[AccountOutcome]) -> pb2.CreateAccountsResponse:
    """An outcome for each, in order."""
    latest = max(
        (
            outcome.position
            for outcome in outcomes
            if isinstance(outcome, AccountStored) and outcome.position is not None
        ),
        default=None,
    )
    return pb2.CreateAccountsResponse(
        outcomes=[
            (
                pb2.AccountOutcome(
                    account=_stored_message(outcome),
                    position=_position(outcome),
                    replayed=outcome.replayed,
                )
                if isinstance(outcome, AccountStored)
                else pb2.AccountOutcome(error=to_status(outcome.error))
            )
            for outcome in outcomes
        ],
        position="" if latest is None else latest.encode(),
    )


def account_message(
    account: Account, metadata: Mapping[str, str], *, readable: bool
) -> account_pb2.Account:
    """An account; without its figures and metadata where the caller may not read it."""
    message = account_pb2.Account(
        id=account.id,
        owner=account.owner,
        institution=account.institution,
        currency=account.currency,
        kind=_KIND_CODES[account.kind],
        status=_STATUS_CODES[account.status],
        revision=account.revision,
        opened_by=account.opened_by,
        create_time=timestamp(account.created_at_us),
    )
    if readable:
        message.balance_minor_units = account.balance
        message.held_minor_units = account.held
        message.overdraft_limit_minor_units = account.overdraft_limit
        message.available_minor_units = account.available
        message.version = account.version
        message.metadata.update(metadata)
    return message


def _stored_message(stored: AccountStored) -> account_pb2.Account:
    return account_message(stored.account, stored.metadata, readable=stored.readable)


def _position(stored: AccountStored) -> str:
    return "" if stored.position is None else stored.position.encode()
