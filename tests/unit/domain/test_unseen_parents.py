"""What a client learns of transfers that others made: nothing, unless it may read an account."""

from __future__ import annotations

import pytest

from paycore.domain.errors import PaycoreError, Reason, transfer_not_found
from paycore.domain.grants import GrantAction, GrantScope
from paycore.domain.money import Minor
from paycore.domain.plan import StoredOutcome
from paycore.domain.position import Position
from paycore.domain.rules import LEGAL_CHILDREN
from paycore.domain.transfers import (
    ChildCommand,
    Declined,
    Posted,
    Refused,
    TransferKind,
    shown_figures,
)
from tests.support.samples import account, child, parent, plan, rules

ACCOUNTS = [account(1, held=Minor(100), institution="left"), account(2, institution="right")]

KINDS = pytest.mark.parametrize("kind", list(LEGAL_CHILDREN))

Grant = tuple[str, GrantAction, GrantScope, str]


def followed(kind: TransferKind) -> TransferKind:
    """A kind of transfer that `kind` may follow."""
    return min(LEGAL_CHILDREN[kind])


def asked_by_a_rival(kind: TransferKind, *granted: Grant, **changes: object) -> object:
    asked: ChildCommand = child(kind, client="rival")
    parents = [parent(followed(kind), **changes)]  # type: ignore[arg-type]  # of the transfer
    return plan(ACCOUNTS, [asked], rules(*granted), parents=parents).outcomes[0]


def error_of(outcome: object) -> PaycoreError:
    assert isinstance(outcome, Refused), outcome
    return outcome.error


def told(error: PaycoreError) -> object:
    return error.reason, error.message, error.metadata


@KINDS
def test_a_transfer_of_others_is_as_one_that_does_not_exist(kind: TransferKind) -> None:
    grant = ("rival", GrantAction(kind), GrantScope.ALL, "")
    for granted in ((), (grant,)):
        assert told(error_of(asked_by_a_rival(kind, *granted))) == told(transfer_not_found(900))


@KINDS
@pytest.mark.parametrize("institution", ["left", "right"])
def test_whoever_reads_one_of_its_accounts_is_told_which_grant_is_missing(
    kind: TransferKind, institution: str
) -> None:
    reads = ("rival", GrantAction.READ, GrantScope.INSTITUTION, institution)
    error = error_of(asked_by_a_rival(kind, reads))
    assert (error.reason, error.metadata["grant"]) == (Reason.NOT_PERMITTED, kind)
    grant = ("rival", GrantAction(kind), GrantScope.ALL, "")
    assert isinstance(asked_by_a_rival(kind, reads, grant), Posted)


@KINDS
def test_so_is_whoever_made_it(kind: TransferKind) -> None:
    error = error_of(asked_by_a_rival(kind, client="rival"))
    assert (error.reason, error.metadata["grant"]) == (Reason.NOT_PERMITTED, kind)


@pytest.mark.parametrize("in_one_batch", [False, True])
def test_a_used_key_tells_no_more_of_it(in_one_batch: bool) -> None:
    """With an id that does not exist it is TRANSFER_NOT_FOUND too: nobody can tell them apart."""
    grants = [("rival", GrantAction(kind), GrantScope.ALL, "") for kind in TransferKind]
    mine = child(TransferKind.REFUND, 1, client="rival")
    probe = child(TransferKind.REFUND, 2, client="rival", key=mine.key, parent=901)
    first = parent(TransferKind.TRANSFER, client="rival")
    other = parent(TransferKind.TRANSFER, id=901)
    used = plan(ACCOUNTS, [mine], rules(*grants), parents=[first])
    stored = {
        (mine.client, mine.key): StoredOutcome(
            mine.request_hash, used.transfers[0], None, Position(1, 1, 1)
        )
    }
    planned = plan(
        ACCOUNTS,
        [mine, probe] if in_one_batch else [probe],
        rules(*grants),
        parents=[first, other],
        stored={} if in_one_batch else stored,
    )
    assert told(error_of(planned.outcomes[-1])) == told(transfer_not_found(901))
    reads = ("rival", GrantAction.READ, GrantScope.ALL, "")
    seen = plan(ACCOUNTS, [probe], rules(*grants, reads), parents=[first, other], stored=stored)
    assert error_of(seen.outcomes[0]).reason is Reason.IDEMPOTENCY_KEY_REUSED


def test_an_outcome_is_given_again_though_its_parent_is_no_longer_seen() -> None:
    mine = child(TransferKind.REFUND, 1, client="rival")
    grant = ("rival", GrantAction.REFUND, GrantScope.ALL, "")
    reads = ("rival", GrantAction.READ, GrantScope.ALL, "")
    first = plan(ACCOUNTS, [mine], rules(grant, reads), parents=[parent()])
    stored = {
        (mine.client, mine.key): StoredOutcome(
            mine.request_hash, first.transfers[0], None, Position(1, 1, 1)
        )
    }
    (again,) = plan(ACCOUNTS, [mine], rules(), parents=[parent()], stored=stored).outcomes
    assert isinstance(again, Posted)
    assert again.replayed


@pytest.mark.parametrize("reads", [False, True])
def test_what_is_left_is_told_only_to_readers_of_the_debited_account(reads: bool) -> None:
    asked = child(TransferKind.REFUND, 101, client="rival")
    side = "right" if reads else "left"
    granted = (
        ("rival", GrantAction.REFUND, GrantScope.ALL, ""),
        ("rival", GrantAction.READ, GrantScope.INSTITUTION, side),
    )
    (outcome,) = plan(ACCOUNTS, [asked], rules(*granted), parents=[parent()]).outcomes
    assert isinstance(outcome, Declined)
    assert outcome.decline.reason == Reason.EXCEEDS_REMAINING
    assert outcome.payer_readable is reads
    figures = shown_figures(outcome.decline.figures, payer_readable=outcome.payer_readable)
    assert ("remaining" in figures) is reads
    assert figures["requested"] == "101"
