"""What may be changed about an account, decided without a database."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from paycore.domain.account_changes import check_limit, check_link, check_revision, check_status
from paycore.domain.accounts import (
    LEGAL_STATUS_MOVES,
    Account,
    AccountId,
    AccountKind,
    AccountStatus,
)
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.identifiers import ExternalIdentifier
from paycore.domain.money import Currency, Minor

NAME = ExternalIdentifier("stripe", "cus_42")


def account(**changes: object) -> Account:
    plain = Account(
        id=AccountId(7),
        kind=AccountKind.CUSTOMER,
        status=AccountStatus.ACTIVE,
        currency=Currency("EUR"),
        owner="ada",
        institution="bank",
        opened_by="app",
        balance=Minor(0),
        held=Minor(0),
        overdraft_limit=Minor(0),
        version=3,
        revision=5,
        last_entry_us=0,
        created_at_us=0,
    )
    return plain._replace(**changes)  # type: ignore[arg-type]  # names and types as above


def refusal(error: pytest.ExceptionInfo[PaycoreError]) -> tuple[Reason, Mapping[str, str]]:
    assert error.value.message, "a refusal says in words what is wrong"
    return error.value.reason, error.value.metadata


@pytest.mark.parametrize("before", AccountStatus)
@pytest.mark.parametrize("wanted", AccountStatus)
def test_only_the_moves_in_the_table_are_allowed(
    before: AccountStatus, wanted: AccountStatus
) -> None:
    subject = account(status=before)
    if (before, wanted) in LEGAL_STATUS_MOVES:
        check_status(subject, wanted)
    else:
        with pytest.raises(PaycoreError) as error:
            check_status(subject, wanted)
        assert refusal(error) == (
            Reason.ILLEGAL_STATE,
            {"account": "7", "state": before, "wanted": wanted},
        )


@pytest.mark.parametrize("figures", [{"balance": 1}, {"balance": -1}, {"held": 1}])
def test_only_an_account_at_zero_and_without_holds_is_closed(figures: dict[str, int]) -> None:
    with pytest.raises(PaycoreError) as error:
        check_status(account(overdraft_limit=9, **figures), AccountStatus.CLOSED)
    assert refusal(error)[0] is Reason.ILLEGAL_STATE


@pytest.mark.parametrize("readable", [False, True])
def test_another_revision_than_the_expected_is_told_to_readers(readable: bool) -> None:
    check_revision(account(), None, readable=readable)
    check_revision(account(), 5, readable=readable)
    with pytest.raises(PaycoreError) as error:
        check_revision(account(), 4, readable=readable)
    told = {"actual": "5"} if readable else {}
    assert refusal(error) == (Reason.VERSION_MISMATCH, {"account": "7", "expected": "4", **told})
    assert "5" not in error.value.message


@pytest.mark.parametrize(
    ("balance", "held", "least"), [(100, 0, 0), (100, 100, 0), (100, 130, 30), (-40, 2, 42)]
)
def test_a_limit_never_goes_below_what_is_used(balance: int, held: int, least: int) -> None:
    subject = account(balance=balance, held=held, overdraft_limit=1_000)
    check_limit(subject, Minor(least), readable=True)
    if least:
        with pytest.raises(PaycoreError) as error:
            check_limit(subject, Minor(least - 1), readable=True)
        assert refusal(error) == (
            Reason.ILLEGAL_STATE,
            {
                "account": "7",
                "state": "ACTIVE",
                "currency": "EUR",
                "requested": str(least - 1),
                "used": str(least),
            },
        )


def test_what_is_used_is_told_only_to_readers() -> None:
    with pytest.raises(PaycoreError) as error:
        check_limit(account(balance=-5), Minor(0), readable=False)
    assert "used" not in error.value.metadata


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": AccountKind.EXTERNAL}, Reason.ACCOUNT_KIND_MISMATCH),
        ({"status": AccountStatus.CLOSED}, Reason.ILLEGAL_STATE),
    ],
)
def test_some_accounts_get_no_limit(changes: dict[str, object], reason: Reason) -> None:
    with pytest.raises(PaycoreError) as error:
        check_limit(account(**changes), Minor(1), readable=True)
    assert refusal(error)[0] is reason


def test_a_frozen_account_can_be_limited() -> None:
    check_limit(account(status=AccountStatus.FROZEN), Minor(1), readable=True)


def test_a_free_name_of_another_scheme_is_linked() -> None:
    check_link(account(), NAME, None, {"iban": "DE"})


@pytest.mark.parametrize(
    ("owner", "linked", "changes", "told"),
    [
        (7, {"stripe": "cus_42"}, {}, {"scheme": "stripe"}),
        (8, {}, {}, {"scheme": "stripe"}),
        (None, {"stripe": "cus_41"}, {}, {"scheme": "stripe"}),
        (None, {}, {"status": AccountStatus.CLOSED}, {}),
    ],
    ids=["linked already", "taken", "another of the scheme", "closed"],
)
def test_other_links_are_refused_without_telling_whose_a_name_is(
    owner: int | None, linked: dict[str, str], changes: dict[str, object], told: dict[str, str]
) -> None:
    subject = account(**changes)
    with pytest.raises(PaycoreError) as error:
        check_link(subject, NAME, owner, linked)
    assert refusal(error) == (
        Reason.ILLEGAL_STATE,
        {"account": "7", "state": subject.status, **told},
    )
    assert "8" not in f"{error.value} {error.value.metadata}"
