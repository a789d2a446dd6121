"""What policy allows apart from any balance."""

from __future__ import annotations

import pytest

from paycore.domain.accounts import Account, AccountId, AccountKind, AccountStatus
from paycore.domain.grants import Grant, GrantAction, Grants, GrantScope
from paycore.domain.money import Currency, Minor
from paycore.domain.rules import Rules, visibility
from paycore.domain.transfers import Visibility


def account(number: int, opened_by: str, institution: str) -> Account:
    return Account(
        AccountId(number),
        AccountKind.CUSTOMER,
        AccountStatus.ACTIVE,
        Currency("EUR"),
        "ada",
        institution,
        opened_by,
        *(Minor(0), Minor(0), Minor(0)),
        *(0, 0, 0, 0),
    )


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (Grant("app", GrantAction.READ, GrantScope.OWN), Visibility(True, False)),
        (Grant("app", GrantAction.READ, GrantScope.INSTITUTION, "bank"), Visibility(False, True)),
        (Grant("app", GrantAction.READ, GrantScope.ALL), Visibility(True, True)),
        (Grant("app", GrantAction.TRANSFER, GrantScope.ALL), Visibility(False, False)),
        (Grant("other", GrantAction.READ, GrantScope.ALL), Visibility(False, False)),
    ],
    ids=["own", "of an institution", "all", "not to read", "another client's"],
)
def test_of_a_transfer_a_client_sees_the_accounts_that_it_may_read(
    scope: Grant, expected: Visibility
) -> None:
    debit, credit = account(1, "app", ""), account(2, "other", "bank")
    assert visibility(Grants.of([scope]), "app", debit, credit) == expected


def test_a_client_links_names_of_the_schemes_that_it_was_given() -> None:
    rules = Rules(Grants(), {}, frozenset({("app", "stripe"), ("other", "iban")}))
    assert rules.may_link("app", "stripe")
    assert rules.may_link("other", "iban")
    assert not rules.may_link("app", "iban")
    assert not rules.may_link("nobody", "stripe")
