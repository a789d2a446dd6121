"""Exit codes and JSON that scripts rely on."""

from datetime import UTC, datetime, timedelta

import grpc
import pytest

from deploy.local import StackError
from operations.cli.output import exit_code, plain
from operations.deployment import UnknownIdentityError
from operations.errors import UnavailableError, UsageError
from paycore.client import Money
from paycore.client.errors import REFUSALS, HandshakeError, UnreachableError
from paycore.domain.errors import RETRYABLE, Reason


@pytest.mark.parametrize("reason", Reason)
def test_a_refusal_ends_with_1_unless_trying_again_may_help(reason: Reason) -> None:
    assert exit_code(REFUSALS[reason]("x")) == (3 if reason in RETRYABLE else 1)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnreachableError(grpc.StatusCode.UNAVAILABLE, ""), 3),
        (HandshakeError("x"), 3),
        (UnavailableError("x"), 3),
        (StackError("x"), 3),
        (UsageError("x"), 2),
        (UnknownIdentityError("x"), 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_failures_have_their_codes(error: Exception, code: int) -> None:
    assert exit_code(error) == code


def test_values_become_plain_json() -> None:
    value = {
        "money": Money(2**62, "EUR"),
        "figures": {"account": 2**60, "version": 3},
        "at": datetime(2026, 1, 1, tzinfo=UTC),
        "lag": timedelta(milliseconds=40),
        "reasons": (Reason.INTERNAL,),
    }
    assert plain(value) == {
        "money": {"minor_units": str(2**62), "currency": "EUR"},
        "figures": {"account": str(2**60), "version": 3},
        "at": "2026-01-01T00:00:00+00:00",
        "lag": 0.04,
        "reasons": ["INTERNAL"],
    }
