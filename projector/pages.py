"""Which documents a stretch of the journal makes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from projector.batch import Document, Row
from projector.documents import (
    ShownDetails,
    account_document,
    decline_document,
    transfer_document,
)


@dataclass(frozen=True, slots=True)
class PageRows:
    """The rows that a stretch of the journal names, each by its id, as the ledger stands now."""

    transfers: Mapping[int, Row]
    """With the parents of those that follow another."""
    declines: Mapping[int, Row]
    accounts: Mapping[int, Row]
    latest_children: Mapping[int, Row]
    """By the id of the parent; read after `transfers`, so that none of these is left out."""
    details: Mapping[int, ShownDetails] = field(default_factory=dict)
    """By the id of the transfer or decline, of those that have any."""


def named(journal: Sequence[Row], column: str) -> list[int]:
    """The ids that rows of the journal name in `column`, in order."""
    return [key for row in journal for key in row[column]]


def parents(transfers: Mapping[int, Row]) -> set[int]:
    """The transfers that `transfers` follow and do not hold."""
    followed = {row["parent_id"] for row in transfers.values()}
    return followed - transfers.keys() - {None}


def changed_accounts(journal: Sequence[Row], transfers: Mapping[int, Row]) -> set[int]:
    """The accounts to be written again: an entry changes its account."""
    changed = {row["debit_account"] for row in transfers.values()}
    changed.update(row["credit_account"] for row in transfers.values())
    changed.update(named(journal, "accounts"))
    return changed


def page_documents(journal: Sequence[Row], rows: PageRows) -> list[Document]:
    """The documents of `journal`: what was posted and declined, in order; then what that changed.

    A child changes its parent's state, and an entry its account: these are written again as they
    stand now, and their versions tell which copy is the newer.
    """
    accounts = rows.accounts
    documents = []

    def add_transfer(key: int) -> None:
        latest = rows.latest_children.get(key)
        documents.append(
            transfer_document(rows.transfers[key], accounts, latest, rows.details.get(key))
        )

    posted = named(journal, "transfers")
    for row in journal:
        for key in row["transfers"]:
            add_transfer(key)
        for key in row["declines"]:
            documents.append(decline_document(rows.declines[key], accounts, rows.details.get(key)))
    for key in sorted(rows.transfers.keys() - set(posted)):
        add_transfer(key)
    changed = changed_accounts(journal, rows.transfers)
    documents.extend(account_document(accounts[key]) for key in sorted(changed))
    return documents
