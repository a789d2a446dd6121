"""What a reply tells, and to whom."""

from __future__ import annotations

import pytest

from command_service.servicers.transfer_replies import error_of
from paycore.domain.accounts import AccountId
from paycore.domain.errors import Reason
from paycore.domain.money import Currency, Minor
from paycore.domain.transfers import Decline, Declined, TransferId, TransferKind

DECLINE = Decline(
    TransferId(7),
    AccountId(1),
    AccountId(2),
    Minor(500),
    1_700_000_000_000_000,
    None,
    TransferKind.TRANSFER,
    Currency("EUR"),
    "shop",
    Reason.INSUFFICIENT_FUNDS.value,
    {"account": "1", "currency": "EUR", "available": "300", "requested": "500"},
    None,
    None,
)


@pytest.mark.parametrize("readable", [False, True])
def test_what_is_available_is_told_to_readers_of_the_payer_only(readable: bool) -> None:
    error = error_of(Declined(DECLINE, None, readable))

    assert error.reason is Reason.INSUFFICIENT_FUNDS
    assert error.metadata["requested"] == "500"
    assert error.metadata.get("available") == ("300" if readable else None)
