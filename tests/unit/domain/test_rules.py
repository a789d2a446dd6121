"""What policy allows apart from any balance."""

from __future__ import annotations

import pytest

from paycore.domain.accounts import Account, AccountId, AccountKind, AccountStatus
from paycore.domain.grants import Grant, GrantAction, Grants, GrantScope
from paycore.domain.money import Currency, Minor
from paycore.domain.rules import Rules, visibility
from paycore.domain.step_up_policy import StepUpPolicy, StepUpRule
from paycore.domain.transfers import StepUpBasis, Visibility


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


def test_what_is_its_own_may_be_the_credited_account_alone() -> None:
    own = Grants.of([Grant("app", GrantAction.READ, GrantScope.OWN)])
    debit, credit = account(1, "other", "bank"), account(2, "app", "")
    assert visibility(own, "app", debit, credit) == Visibility(False, True)


@pytest.mark.parametrize("institution", ["bank", "other", ""])
def test_an_exemption_holds_for_the_accounts_of_its_institution(institution: str) -> None:
    grants = Grants.of([Grant("app", GrantAction.STEP_UP_EXEMPT, GrantScope.INSTITUTION, "bank")])
    by = Rules(grants, {"EUR": StepUpPolicy(100)})
    found = by.step_up("app", 101, "EUR", account(1, "other", institution), 101)
    exempt = institution == "bank"
    assert found is (StepUpBasis.CLIENT_EXEMPT if exempt else StepUpRule.THRESHOLD)


def test_a_client_links_names_of_the_schemes_that_it_was_given() -> None:
    rules = Rules(Grants(), {}, frozenset({("app", "stripe"), ("other", "iban")}))
    assert rules.may_link("app", "stripe")
    assert rules.may_link("other", "iban")
    assert not rules.may_link("app", "iban")
    assert not rules.may_link("nobody", "stripe")
