"""What may be changed about an account, whoever asks. Each function raises or lets pass."""

from __future__ import annotations

from collections.abc import Mapping

from paycore.domain.accounts import LEGAL_STATUS_MOVES, Account, AccountKind, AccountStatus
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.identifiers import ExternalIdentifier
from paycore.domain.money import Minor


def check_revision(account: Account, expected: int | None, *, readable: bool) -> None:
    """Raise PaycoreError VERSION_MISMATCH where the account stands at another revision.

    At which is told only where the account is `readable` to the caller.
    """
    if expected not in (None, account.revision):
        figures = {"account": str(account.id), "expected": str(expected)}
        if readable:
            figures["actual"] = str(account.revision)
        raise PaycoreError(
            Reason.VERSION_MISMATCH,
            f"the account no longer stands at revision {expected}",
            figures,
        )


def check_status(account: Account, wanted: AccountStatus) -> None:
    """Raise PaycoreError ILLEGAL_STATE for a move that is in no table, or to CLOSED with money."""
    if (account.status, wanted) not in LEGAL_STATUS_MOVES:
        raise _illegal(
            account, f"an account that is {account.status} cannot become {wanted}", wanted=wanted
        )
    if wanted is AccountStatus.CLOSED and (account.balance or account.held):
        raise _illegal(
            account, "only an account at zero and without holds can be closed", wanted=wanted
        )


def check_limit(account: Account, wanted: Minor, *, readable: bool) -> None:
    """Whether the account may go `wanted` minor units below zero.

    Raises PaycoreError ACCOUNT_KIND_MISMATCH for an EXTERNAL account, which has no floor, and
    ILLEGAL_STATE for a closed one and for a limit below what is already used of it. The figures
    of that are told only where the account is `readable` to the caller.
    """
    if account.kind is not AccountKind.CUSTOMER:
        raise PaycoreError(
            Reason.ACCOUNT_KIND_MISMATCH,
            f"an {account.kind} account has no floor",
            {"account": str(account.id), "kind": account.kind},
        )
    _check_not_closed(account)
    used = max(account.held - account.balance, 0)
    if wanted < used:
        figures = {"currency": account.currency, "requested": str(wanted)}
        if readable:
            figures["used"] = str(used)
        raise _illegal(account, "the account already uses more than that limit", **figures)


def check_link(
    account: Account,
    wanted: ExternalIdentifier,
    owner: int | None,
    linked: Mapping[str, str],
) -> None:
    """Whether `wanted`, now the name of account `owner`, may become that of `account`.

    `linked` are the names that the account has, by scheme. Raises PaycoreError ILLEGAL_STATE; it
    never tells whose a taken name is.
    """
    if owner == account.id:
        raise _illegal(account, f"{wanted} is linked to the account already", scheme=wanted.scheme)
    if owner is not None:
        raise _illegal(account, f"{wanted} belongs to another account", scheme=wanted.scheme)
    if wanted.scheme in linked:
        raise _illegal(
            account,
            f"the account has another identifier of the scheme {wanted.scheme}",
            scheme=wanted.scheme,
        )
    _check_not_closed(account)


def _check_not_closed(account: Account) -> None:
    if account.status is AccountStatus.CLOSED:
        raise _illegal(account, "the account is closed")


def _illegal(account: Account, message: str, **figures: str) -> PaycoreError:
    return PaycoreError(
        Reason.ILLEGAL_STATE,
        message,
        {"account": str(account.id), "state": account.status, **figures},
    )
