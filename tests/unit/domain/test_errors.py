"""Refusals: which are remembered, which may be tried again, and what a bad request is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from paycore.domain.errors import (
    RETRYABLE,
    STORED_DECLINES,
    PaycoreError,
    Reason,
    Violation,
    account_not_found,
    identifier_not_found,
    invalid_field,
    invalid_fields,
    key_reused,
    transfer_not_found,
)
from paycore.domain.identifiers import ExternalIdentifier


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


def test_of_many_bad_fields_the_message_names_five() -> None:
    error = invalid_fields(tuple(Violation(name, "bad") for name in "abcdef"))
    assert error.message == "invalid: a, b, c, d, e"
    assert len(error.violations) == 6


def test_one_bad_field_is_a_list_of_one() -> None:
    assert invalid_field("kind", "a kind").violations == (Violation("kind", "a kind"),)


@pytest.mark.parametrize(
    ("error", "reason", "figures"),
    [
        (lambda: account_not_found(7), Reason.ACCOUNT_NOT_FOUND, {"id": "7"}),
        (
            lambda: identifier_not_found(ExternalIdentifier("stripe", "cus_42")),
            Reason.ACCOUNT_NOT_FOUND,
            {"id": "stripe:cus_42"},
        ),
        (lambda: transfer_not_found(8), Reason.TRANSFER_NOT_FOUND, {"id": "8"}),
        (lambda: key_reused("k1"), Reason.IDEMPOTENCY_KEY_REUSED, {"key": "k1"}),
    ],
    ids=["account", "identifier", "transfer", "key"],
)
def test_a_refusal_tells_what_was_asked_for(
    error: Callable[[], PaycoreError], reason: Reason, figures: dict[str, str]
) -> None:
    made = error()
    assert (made.reason, made.metadata) == (reason, figures)
    assert made.message


def test_errors_are_told_apart_by_identity() -> None:
    one, other = (PaycoreError(Reason.INTERNAL, "x") for _ in range(2))
    assert one != other
    with pytest.raises(PaycoreError):
        raise one
