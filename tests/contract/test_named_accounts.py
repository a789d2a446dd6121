"""Wherever a call names an account, an external identifier does as well as the id."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from paycore.runtime.account_names import ACCOUNT, COUNTERPARTY, CREDIT, DEBIT, Named
from paycore.runtime.errors import from_status
from paycore.v1 import (
    account_pb2,
    account_service_pb2,
    analytics_service_pb2,
    history_service_pb2,
    money_pb2,
    transfer_pb2,
    transfer_service_pb2,
)
from tests.support.callers import (
    TIMEOUT_S,
    Caller,
    Callers,
    answered,
    refusal_of,
)

MONEY = money_pb2.Money(minor_units=5, currency="EUR")

INDEXED_WITHIN_S = 60.0

Name = int | account_pb2.ExternalIdentifier


class Pair(NamedTuple):
    """Two accounts, by id and by name."""

    payer: int
    payee: int
    payer_name: account_pb2.ExternalIdentifier
    payee_name: account_pb2.ExternalIdentifier


def named(value: str, scheme: str = "iban") -> account_pb2.ExternalIdentifier:
    return account_pb2.ExternalIdentifier(scheme=scheme, value=value)


def at(place: Named, name: Name) -> dict[str, Any]:
    """The field of `place` for `name`."""
    return {place.by_id if isinstance(name, int) else place.by_identifier: name}


def sides(debit: Name, credit: Name) -> dict[str, Any]:
    return {**at(DEBIT, debit), **at(CREDIT, credit)}


def submit(debit: Name, credit: Name, **changes: Any) -> transfer_service_pb2.SubmitTransferRequest:
    values: dict[str, Any] = {
        "idempotency_key": secrets.token_hex(8),
        "kind": transfer_pb2.TRANSFER_KIND_TRANSFER,
        "amount": MONEY,
        **sides(debit, credit),
    }
    return transfer_service_pb2.SubmitTransferRequest(**{**values, **changes})


def bulk(debit: Name, credit: Name) -> transfer_service_pb2.SubmitTransfersRequest:
    return transfer_service_pb2.SubmitTransfersRequest(transfers=[submit(debit, credit)])


def group(debit: Name, credit: Name) -> transfer_service_pb2.SubmitTransferGroupRequest:
    return transfer_service_pb2.SubmitTransferGroupRequest(
        idempotency_key=secrets.token_hex(8),
        transfers=[
            transfer_service_pb2.GroupedTransfer(
                kind=transfer_pb2.TRANSFER_KIND_TRANSFER, amount=MONEY, **sides(debit, credit)
            )
        ],
    )


def hold(debit: Name, credit: Name) -> transfer_service_pb2.HoldFundsRequest:
    return transfer_service_pb2.HoldFundsRequest(
        idempotency_key=secrets.token_hex(8),
        amount=MONEY,
        expire_time=Timestamp(seconds=_soon()),
        **sides(debit, credit),
    )


def _soon() -> int:
    now = Timestamp()
    now.GetCurrentTime()
    return int(now.seconds) + 3_600


def status(account: Name, _: Name) -> account_service_pb2.SetAccountStatusRequest:
    return account_service_pb2.SetAccountStatusRequest(
        idempotency_key=secrets.token_hex(8),
        status=account_pb2.ACCOUNT_STATUS_FROZEN,
        reason="for the tests",
        **at(ACCOUNT, account),
    )


def limit(account: Name, _: Name) -> account_service_pb2.SetOverdraftLimitRequest:
    return account_service_pb2.SetOverdraftLimitRequest(
        idempotency_key=secrets.token_hex(8),
        overdraft_limit_minor_units=7,
        reason="for the tests",
        **at(ACCOUNT, account),
    )


def shown(account: Name, _: Name) -> account_service_pb2.GetAccountRequest:
    return account_service_pb2.GetAccountRequest(**at(ACCOUNT, account))


def balance(account: Name, _: Name) -> history_service_pb2.GetBalanceRequest:
    return history_service_pb2.GetBalanceRequest(**at(ACCOUNT, account))


def statement(account: Name, _: Name) -> history_service_pb2.GetStatementRequest:
    request = history_service_pb2.GetStatementRequest(**at(ACCOUNT, account))
    request.start_time.FromSeconds(0)
    request.end_time.FromSeconds(4_000_000_000)
    return request


def searched(account: Name, other: Name) -> history_service_pb2.SearchTransfersRequest:
    return history_service_pb2.SearchTransfersRequest(
        **at(ACCOUNT, account), **at(COUNTERPARTY, other)
    )


def listed(account: Name, other: Name) -> history_service_pb2.ListTransfersRequest:
    return history_service_pb2.ListTransfersRequest(
        **at(ACCOUNT, account), **at(COUNTERPARTY, other)
    )


def counterparties(account: Name, _: Name) -> analytics_service_pb2.TopCounterpartiesRequest:
    return analytics_service_pb2.TopCounterpartiesRequest(**at(ACCOUNT, account))


def kinds(account: Name, _: Name) -> analytics_service_pb2.KindBreakdownRequest:
    return analytics_service_pb2.KindBreakdownRequest(**at(ACCOUNT, account))


def activity(account: Name, _: Name) -> analytics_service_pb2.AccountActivityRequest:
    request = analytics_service_pb2.AccountActivityRequest(
        interval=analytics_service_pb2.VOLUME_INTERVAL_DAY, **at(ACCOUNT, account)
    )
    request.start_time.FromSeconds(0)
    request.end_time.FromSeconds(86_400)
    return request


def declines(account: Name, _: Name) -> analytics_service_pb2.DeclineStatisticsRequest:
    return analytics_service_pb2.DeclineStatisticsRequest(**at(ACCOUNT, account))


class Place(NamedTuple):
    """A call that names accounts, and who makes it."""

    client: str
    service: str
    method: str
    request: Callable[[Name, Name], Any]
    both: bool = True
    """Whether it names a second account."""


PLACES = [
    Place("app", "transfers", "SubmitTransfer", submit),
    Place("app", "transfers", "SubmitTransferGroup", group),
    Place("app", "transfers", "HoldFunds", hold),
    Place("app", "accounts", "GetAccount", shown, both=False),
    Place("operator", "accounts", "SetAccountStatus", status, both=False),
    Place("operator", "accounts", "SetOverdraftLimit", limit, both=False),
    Place("app", "history", "GetBalance", balance, both=False),
    Place("app", "history", "GetStatement", statement, both=False),
    Place("app", "history", "ListTransfers", listed),
    Place("app", "history", "SearchTransfers", searched),
    Place("app", "analytics", "TopCounterparties", counterparties, both=False),
    Place("app", "analytics", "KindBreakdown", kinds, both=False),
    Place("app", "analytics", "AccountActivity", activity, both=False),
    Place("app", "analytics", "DeclineStatistics", declines, both=False),
]


@pytest.fixture
async def pair(app: Caller) -> Pair:
    """Two accounts with 1,000 each and a payment between them, indexed."""
    _, payer, payee = await app.open(2, balance=1_000)
    names = [named(secrets.token_hex(8)) for _ in range(2)]
    for account, name in zip((payer, payee), names, strict=True):
        await app.accounts.LinkExternalIdentifier(
            account_service_pb2.LinkExternalIdentifierRequest(
                idempotency_key=secrets.token_hex(8), account_id=account, identifier=name
            ),
            timeout=TIMEOUT_S,
        )
    done = await app.submit(submit(payer, payee))

    async def read() -> history_service_pb2.GetBalanceResponse:
        reply: history_service_pb2.GetBalanceResponse = await answered(
            lambda: app.history.GetBalance(
                history_service_pb2.GetBalanceRequest(account_id=payer, min_position=done.position),
                timeout=TIMEOUT_S,
            )
        )
        return reply

    # The ledger answers while the index is behind.
    async with asyncio.timeout(INDEXED_WITHIN_S):
        while (await read()).freshness.source != "elasticsearch":
            await asyncio.sleep(0.05)
    return Pair(payer, payee, *names)


def call(callers: Callers, place: Place, request: Message) -> Awaitable[Any]:
    asked: Awaitable[Any] = getattr(getattr(callers.of(place.client), place.service), place.method)(
        request, timeout=TIMEOUT_S
    )
    return asked


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.method)
async def test_by_name_it_is_the_same_request_as_by_id(
    callers: Callers, pair: Pair, place: Place
) -> None:
    by_id = place.request(pair.payer, pair.payee)
    by_name = place.request(pair.payer_name, pair.payee_name)
    if "idempotency_key" in by_id.DESCRIPTOR.fields_by_name:
        by_name.idempotency_key = by_id.idempotency_key
    if place.method == "HoldFunds":
        by_name.expire_time.CopyFrom(by_id.expire_time)
    first = await call(callers, place, by_id)
    again = await call(callers, place, by_name)
    for reply in (first, again):
        for field in ("freshness", "replayed"):
            if field in reply.DESCRIPTOR.fields_by_name:
                if field == "replayed":
                    assert reply.replayed is (reply is again)
                reply.ClearField(field)
    assert again == first


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.method)
async def test_a_name_that_no_account_has_is_not_found(
    callers: Callers, pair: Pair, place: Place
) -> None:
    unknown = named(secrets.token_hex(8))
    asked = [place.request(unknown, pair.payee)]
    if place.both:
        asked.append(place.request(pair.payer_name, unknown))
    for request in asked:
        refusal = await refusal_of(call(callers, place, request))
        assert refusal is not None
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "ACCOUNT_NOT_FOUND")
        assert refusal.error is not None
        assert refusal.error.metadata["id"] == f"iban:{unknown.value}"


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.method)
async def test_a_malformed_name_is_a_bad_field(callers: Callers, pair: Pair, place: Place) -> None:
    request = place.request(named("", "BANK"), pair.payee)
    refusal = await refusal_of(call(callers, place, request))
    assert refusal is not None
    assert refusal.reason == "INVALID_FIELD"
    lists = place.method in ("ListTransfers", "SearchTransfers")
    field = "account_identifier" if not place.both or lists else ""
    expected = field or "debit_account_identifier"
    prefix = "transfers[0]." if place.method == "SubmitTransferGroup" else ""
    assert refusal.fields == [f"{prefix}{expected}.scheme", f"{prefix}{expected}.value"]


async def test_in_bulk_an_unknown_name_is_the_outcome_of_its_item(app: Caller, pair: Pair) -> None:
    request = bulk(pair.payer_name, pair.payee_name)
    request.transfers.append(submit(named("nobody"), pair.payee_name))
    request.transfers.append(submit(pair.payer, pair.payee_name))
    reply = await app.transfers.SubmitTransfers(request, timeout=TIMEOUT_S)
    first, second, third = reply.outcomes
    assert first.transfer.debit_account_id == third.transfer.debit_account_id == pair.payer
    assert first.transfer.credit_account_id == third.transfer.credit_account_id == pair.payee
    error = from_status(second.error)
    assert error is not None
    assert (error.reason, error.metadata) == ("ACCOUNT_NOT_FOUND", {"id": "iban:nobody"})


async def test_a_name_linked_after_it_was_not_found_is_found(app: Caller) -> None:
    _, account = await app.open(1)
    name = named(secrets.token_hex(8))
    request = account_service_pb2.ResolveExternalIdentifierRequest(identifier=name)
    refusal = await refusal_of(app.accounts.ResolveExternalIdentifier(request, timeout=TIMEOUT_S))
    assert refusal is not None
    assert refusal.reason == "ACCOUNT_NOT_FOUND"
    await app.accounts.LinkExternalIdentifier(
        account_service_pb2.LinkExternalIdentifierRequest(
            idempotency_key=secrets.token_hex(8), account_id=account, identifier=name
        ),
        timeout=TIMEOUT_S,
    )
    found = await app.accounts.ResolveExternalIdentifier(request, timeout=TIMEOUT_S)
    assert found.account_id == account
