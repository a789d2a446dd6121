"""Malformed identifiers in requests are bad fields like any other, each named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from command_service.servicers.transfer_requests import parse_grouped, parse_hold, parse_transfer
from paycore.domain.errors import PaycoreError, Reason
from paycore.v1 import account_pb2, money_pb2, transfer_pb2
from paycore.v1 import transfer_service_pb2 as pb2

SECRET = bytes(32)
MONEY = money_pb2.Money(minor_units=1, currency="EUR")
SIDES: dict[str, Any] = {
    "debit_account_identifier": account_pb2.ExternalIdentifier(scheme="S", value="v"),
    "credit_account_identifier": account_pb2.ExternalIdentifier(scheme="s", value=""),
}


def single() -> None:
    parse_transfer(
        pb2.SubmitTransferRequest(
            idempotency_key="k", kind=transfer_pb2.TRANSFER_KIND_TRANSFER, amount=MONEY, **SIDES
        ),
        "app",
        SECRET,
    )


def held() -> None:
    request = pb2.HoldFundsRequest(idempotency_key="k", amount=MONEY, **SIDES)
    request.expire_time.FromSeconds(2_000_000_000)
    parse_hold(request, "app", SECRET)


def grouped() -> None:
    item = pb2.GroupedTransfer(kind=transfer_pb2.TRANSFER_KIND_TRANSFER, amount=MONEY, **SIDES)
    parse_grouped(item, "app", SECRET, 3)


@pytest.mark.parametrize(
    ("parse", "prefix"), [(single, ""), (held, ""), (grouped, "transfers[3].")]
)
def test_both_sides_are_named(parse: Callable[[], None], prefix: str) -> None:
    with pytest.raises(PaycoreError) as refusal:
        parse()
    assert refusal.value.reason is Reason.INVALID_FIELD
    assert [bad.field for bad in refusal.value.violations] == [
        f"{prefix}debit_account_identifier.scheme",
        f"{prefix}credit_account_identifier.value",
    ]
