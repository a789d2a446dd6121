"""Whose personal data is."""

from __future__ import annotations

import pytest

from paycore.domain.accounts import AccountKind
from paycore.domain.subjects import belongs_to_debit, is_subject, subjects_of
from paycore.domain.transfers import TransferKind

CUSTOMER, EXTERNAL = AccountKind.CUSTOMER, AccountKind.EXTERNAL


@pytest.mark.parametrize("kind", TransferKind)
def test_between_customers_it_is_the_one_who_pays_or_is_paid_back(kind: TransferKind) -> None:
    paid_back = kind in (TransferKind.REFUND, TransferKind.REVERSAL)
    assert belongs_to_debit(kind, CUSTOMER, CUSTOMER) is not paid_back


@pytest.mark.parametrize("kind", TransferKind)
def test_it_is_never_the_world_outside(kind: TransferKind) -> None:
    assert belongs_to_debit(kind, CUSTOMER, EXTERNAL)
    assert not belongs_to_debit(kind, EXTERNAL, CUSTOMER)


def test_who_acted_is_a_subject_beside_the_owner_unless_it_is_the_owner() -> None:
    assert subjects_of("ada", "") == ("ada",)
    assert subjects_of("ada", "ada") == ("ada",)
    assert subjects_of("ada", "bob") == ("ada", "bob")


@pytest.mark.parametrize(
    ("name", "good"),
    [("u", True), ("u" * 128, True), ("", False), ("u" * 129, False), ("a\n", False)],
)
def test_what_can_be_a_subject(name: str, good: bool) -> None:
    assert is_subject(name) is good
