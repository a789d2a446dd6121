"""Refusals: which are remembered, which may be tried again, and what a bad request is told."""

from __future__ import annotations

import pytest

from paycore.domain.errors import (
    RETRYABLE,
    STORED_DECLINES,
    PaycoreError,
    Reason,
    Violation,
    invalid_field,
    invalid_fields,
)


def test_reasons_are_named_as_they_are_spelt() -> None:
    assert all(reason.name == reason.value for reason in Reason)


def test_what_is_remembered_is_never_retried() -> None:
    assert not STORED_DECLINES & RETRYABLE


def test_remembered_are_the_rules_of_the_ledger_and_of_risk() -> None:
    assert {reason.value for reason in STORED_DECLINES} == {
        "INSUFFICIENT_FUNDS",
        "ACCOUNT_FROZEN",
        "ACCOUNT_CLOSED",
        "EXCEEDS_REMAINING",
        "HOLD_NOT_OPEN",
        "RISK_DECLINED",
    }


def test_a_bad_request_names_every_field() -> None:
    violations = (Violation("amount.currency", "a code"), Violation("kind", "a kind"))
    error = invalid_fields(violations)
    assert error.reason is Reason.INVALID_FIELD
    assert error.violations == violations
    assert "amount.currency" in str(error)


def test_one_bad_field_is_a_list_of_one() -> None:
    assert invalid_field("kind", "a kind").violations == (Violation("kind", "a kind"),)


def test_errors_are_told_apart_by_identity() -> None:
    one, other = (PaycoreError(Reason.INTERNAL, "x") for _ in range(2))
    assert one != other
    with pytest.raises(PaycoreError):
        raise one
