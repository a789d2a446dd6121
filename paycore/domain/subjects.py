"""Whose the personal data of a transfer is."""

from __future__ import annotations

from collections.abc import Sequence

from paycore.domain.accounts import AccountKind
from paycore.domain.transfers import TransferKind

MAX_SUBJECT = 128
"""Characters of a user's id."""

PAID_BACK = frozenset({TransferKind.REFUND, TransferKind.REVERSAL})
"""Kinds whose payer is the payee of what they follow."""


def is_subject(name: str) -> bool:
    """Whether `name` can be a user's id: 1 to 128 printable characters."""
    return 0 < len(name) <= MAX_SUBJECT and name.isprintable()


def belongs_to_debit(kind: TransferKind, debit: AccountKind, credit: AccountKind) -> bool:
    """Whether the owner of the debited account is the subject, and not that of the credited one.

    It is the customer who paid: of what is paid back, the one who gets it; never the world outside.
    """
    if AccountKind.EXTERNAL in (debit, credit):
        return credit is AccountKind.EXTERNAL
    return kind not in PAID_BACK


def subjects_of(owner: str, actor: str) -> Sequence[str]:
    """The subjects of details, each once: the account's owner, and who acted where that is another.

    `actor` is empty where nobody is named.
    """
    return (owner, actor) if actor and actor != owner else (owner,)
