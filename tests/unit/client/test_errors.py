"""The table of exceptions is total, and each says what its reason says."""

import pytest

from paycore.client.errors import REFUSALS, AuthorizationInvalidError, RefusedError, refusal
from paycore.domain.errors import PaycoreError, Reason, Violation


def test_every_reason_has_a_class_of_its_own() -> None:
    assert set(REFUSALS) == set(Reason)
    assert len(set(REFUSALS.values())) == len(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_a_class_is_named_after_its_reason(reason: Reason) -> None:
    camel = "".join(word.capitalize() for word in reason.value.split("_"))
    assert REFUSALS[reason].__name__ == f"{camel}Error"
    assert REFUSALS[reason].__doc__


def test_only_an_interrupted_check_asks_for_the_pin_to_be_sealed_anew() -> None:
    interrupted = {"attempts_left": "4", "why": "interrupted", "remedy": "SEAL_ANEW"}
    for told, seal_anew in ((interrupted, True), ({"why": "the sealed PIN does not open"}, False)):
        error = refusal(PaycoreError(Reason.AUTHORIZATION_INVALID, "no", told))
        assert isinstance(error, AuthorizationInvalidError)
        assert error.seal_anew is seal_anew


def test_an_error_carries_all_that_the_service_said() -> None:
    said = PaycoreError(
        Reason.INVALID_FIELD,
        "bad",
        {"a": "1"},
        (Violation("amount", "must be positive"),),
        retry_after_ms=7,
    )
    error = refusal(said)
    assert isinstance(error, RefusedError)
    assert error.reason is Reason.INVALID_FIELD
    assert error.metadata == {"a": "1"}
    assert error.violations == said.violations
    assert error.retry_after_ms == 7
    assert str(error) == "INVALID_FIELD: bad"
