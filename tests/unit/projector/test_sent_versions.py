"""What the sink has taken is not sent again; anything newer, unknown or forgotten is."""

from __future__ import annotations

from projector.batch import Document, DocumentKind
from projector.sinks.sent_versions import SentVersions


def account(key: int, version: int) -> Document:
    return Document(DocumentKind.ACCOUNT, key, version, b"{}")


def test_only_newer_copies_of_an_account_are_sent() -> None:
    sent = SentVersions()
    sent.note([account(1, 5)])
    assert sent.unsent([account(1, 4), account(1, 5), account(1, 6), account(2, 1)]) == [
        account(1, 6),
        account(2, 1),
    ]


def test_transfers_are_always_sent() -> None:
    sent = SentVersions()
    transfer = Document(DocumentKind.TRANSFER, 1, 1, b"{}")
    sent.note([transfer])
    assert sent.unsent([transfer]) == [transfer]


def test_the_accounts_seen_longest_ago_are_forgotten_first() -> None:
    sent = SentVersions(most=2)
    sent.note([account(1, 1), account(2, 1)])
    sent.note([account(1, 2), account(3, 1)])
    assert sent.unsent([account(1, 2), account(2, 1), account(3, 1)]) == [account(2, 1)]
