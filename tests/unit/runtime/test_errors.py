"""The one table from reasons to gRPC, held against the contract's page."""

from __future__ import annotations

import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from paycore.domain.errors import RETRYABLE, PaycoreError, Reason, Violation
from paycore.runtime.errors import (
    CODES,
    DEFAULT_RETRY_AFTER_MS,
    STATUS_DETAILS_KEY,
    from_status,
    from_trailers,
    to_status,
)

CONTRACT = {
    "INVALID_ARGUMENT": {"INVALID_FIELD", "DEADLINE_REQUIRED", "PIN_TOO_WEAK"},
    "DEADLINE_EXCEEDED": {"DEADLINE_EXCEEDED"},
    "NOT_FOUND": {
        "ACCOUNT_NOT_FOUND",
        "TRANSFER_NOT_FOUND",
        "DEVICE_NOT_FOUND",
        "SUBSCRIPTION_NOT_FOUND",
        "DELIVERY_NOT_FOUND",
    },
    "FAILED_PRECONDITION": {
        "INSUFFICIENT_FUNDS",
        "BALANCE_OVERFLOW",
        "ACCOUNT_FROZEN",
        "ACCOUNT_CLOSED",
        "ACCOUNT_KIND_MISMATCH",
        "CURRENCY_MISMATCH",
        "SAME_ACCOUNT",
        "HOLD_NOT_OPEN",
        "EXCEEDS_REMAINING",
        "ILLEGAL_STATE",
        "VERSION_MISMATCH",
        "RISK_DECLINED",
        "STEP_UP_REQUIRED",
        "TOO_MANY_DEVICES",
        "TOO_MANY_SUBSCRIPTIONS",
        "HISTORY_REPLACED",
    },
    "ALREADY_EXISTS": {"IDEMPOTENCY_KEY_REUSED", "PIN_ALREADY_ENROLLED"},
    "ABORTED": {"CONTENTION", "WATCHER_BEHIND"},
    "UNAUTHENTICATED": {"UNAUTHENTICATED"},
    "PERMISSION_DENIED": {
        "NOT_PERMITTED",
        "AUTHORIZATION_INVALID",
        "AUTHORIZATION_EXPIRED",
        "AUTHORIZATION_USED",
        "PIN_INCORRECT",
        "PIN_LOCKED",
    },
    "RESOURCE_EXHAUSTED": {"RATE_LIMITED", "OVERLOADED"},
    "UNAVAILABLE": {
        "DATABASE_UNAVAILABLE",
        "SIGNER_UNAVAILABLE",
        "RISK_UNAVAILABLE",
        "INDEX_UNAVAILABLE",
        "INDEX_BEHIND",
        "SHUTTING_DOWN",
    },
    "INTERNAL": {"INTERNAL"},
}
RETRY_CODES = {"ABORTED", "UNAVAILABLE", "RESOURCE_EXHAUSTED"}


def details(status: status_pb2.Status, kind: type) -> list[object]:
    found = []
    for detail in status.details:
        if detail.Is(kind.DESCRIPTOR):  # type: ignore[attr-defined]  # google.rpc is untyped
            message = kind()
            detail.Unpack(message)
            found.append(message)
    return found


def test_every_reason_has_the_code_of_the_contract() -> None:
    assert {reason: code_pb2.Code.Name(CODES[reason]) for reason in Reason} == {
        Reason(name): code for code, names in CONTRACT.items() for name in names
    }
    assert set(CODES) == set(Reason)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_refusal_says_its_reason_and_survives_the_wire(reason: Reason) -> None:
    error = PaycoreError(reason, "why", {"account": "7"}, (Violation("f", "d"),), 1_500)
    status = to_status(error)

    (info,) = details(status, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain, dict(info.metadata)) == (  # type: ignore[attr-defined]
        reason.value,
        "paycore",
        {"account": "7"},
    )
    back = from_status(status_pb2.Status.FromString(status.SerializeToString()))
    assert back is not None
    assert (back.reason, back.message, back.metadata) == (reason, "why", {"account": "7"})
    assert back.violations == error.violations


@pytest.mark.parametrize("reason", list(Reason))
def test_what_may_pass_says_when_to_come_back_and_nothing_else_does(reason: Reason) -> None:
    status = to_status(PaycoreError(reason, "why"))
    retry = details(status, error_details_pb2.RetryInfo)
    if code_pb2.Code.Name(CODES[reason]) in RETRY_CODES:
        (info,) = retry
        assert info.retry_delay.ToMilliseconds() == DEFAULT_RETRY_AFTER_MS  # type: ignore[attr-defined]
    else:
        assert retry == []


def test_what_clients_retry_always_carries_a_wait() -> None:
    assert all(code_pb2.Code.Name(CODES[reason]) in RETRY_CODES for reason in RETRYABLE)


def test_the_suggested_wait_is_the_refusals_own() -> None:
    status = to_status(PaycoreError(Reason.RATE_LIMITED, "why", retry_after_ms=1_250))
    back = from_status(status)
    assert back is not None
    assert back.retry_after_ms == 1_250


def test_every_violation_is_listed() -> None:
    violations = tuple(Violation(f"items[{n}].amount", "positive") for n in range(20))
    status = to_status(PaycoreError(Reason.INVALID_FIELD, "why", violations=violations))
    (bad,) = details(status, error_details_pb2.BadRequest)
    named = [entry.field for entry in bad.field_violations]  # type: ignore[attr-defined]
    assert named == [f"items[{n}].amount" for n in range(20)]


@pytest.mark.parametrize(
    ("domain", "reason"), [("other", "INTERNAL"), ("paycore", "NO_SUCH_REASON")]
)
def test_what_others_say_is_not_taken_for_ours(domain: str, reason: str) -> None:
    packed = any_pb2.Any()
    packed.Pack(error_details_pb2.ErrorInfo(domain=domain, reason=reason))
    status = status_pb2.Status(code=code_pb2.INTERNAL, details=[packed])
    assert from_status(status) is None
    assert from_trailers([(STATUS_DETAILS_KEY, status.SerializeToString())]) is None


def test_an_error_without_details_is_not_ours() -> None:
    assert from_status(status_pb2.Status(code=code_pb2.INTERNAL)) is None
    assert from_trailers(None) is None
    assert from_trailers([("x", "y")]) is None
