"""Accounts by id or by name, in every call of the client that names one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from paycore.client import (
    AccountName,
    AccountStatus,
    ExternalIdentifier,
    Money,
    NewAccount,
    PaycoreClient,
    TransferFilter,
    TransferOrder,
)
from paycore.runtime.account_names import ACCOUNT, COUNTERPARTY, CREDIT, DEBIT, Named
from paycore.v1 import (
    account_pb2,
    account_service_pb2,
    analytics_service_pb2,
    history_service_pb2,
)
from tests.integration.client.samples import submitted
from tests.integration.client.scripted import Script, Step

NAME = ExternalIdentifier("stripe", "cus_42")


def account() -> account_pb2.Account:
    return account_pb2.Account(
        id=11,
        kind=account_pb2.ACCOUNT_KIND_CUSTOMER,
        status=account_pb2.ACCOUNT_STATUS_ACTIVE,
        metadata={"plan": "gold"},
    )


def order(name: AccountName) -> TransferOrder:
    return TransferOrder(name, name, Money(1, "EUR"))


Ask = Callable[[PaycoreClient, AccountName], Awaitable[Any]]

CALLS: list[tuple[Ask, Step, tuple[Named, ...]]] = [
    (
        lambda client, name: client.get_account(name),
        account_service_pb2.GetAccountResponse(account=account()),
        (ACCOUNT,),
    ),
    (
        lambda client, name: client.set_account_status(name, AccountStatus.FROZEN, "r"),
        account_service_pb2.SetAccountStatusResponse(account=account()),
        (ACCOUNT,),
    ),
    (
        lambda client, name: client.set_overdraft_limit(name, 5, "r"),
        account_service_pb2.SetOverdraftLimitResponse(account=account()),
        (ACCOUNT,),
    ),
    (
        lambda client, name: client.submit_transfer(order(name)),
        submitted(),
        (DEBIT, CREDIT),
    ),
    (
        lambda client, name: client.get_balance(name),
        history_service_pb2.GetBalanceResponse(),
        (ACCOUNT,),
    ),
    (
        lambda client, name: client.list_transfers_page(TransferFilter(name, counterparty=name)),
        history_service_pb2.ListTransfersResponse(),
        (ACCOUNT, COUNTERPARTY),
    ),
    (
        lambda client, name: client.top_counterparties(name),
        analytics_service_pb2.TopCounterpartiesResponse(),
        (ACCOUNT,),
    ),
]


@pytest.mark.parametrize(("ask", "reply", "places"), CALLS)
async def test_a_name_goes_where_an_id_would(
    client: PaycoreClient, script: Script, ask: Ask, reply: Step, places: tuple[Named, ...]
) -> None:
    script.play(reply)
    await ask(client, NAME)
    await ask(client, 12)
    by_name, by_id = script.requests
    for place in places:
        sent = getattr(by_name, place.by_identifier)
        assert (sent.scheme, sent.value) == NAME
        assert not by_id.HasField(place.by_identifier)
        assert getattr(by_id, place.by_id) == 12


async def test_a_link_is_sent_with_its_key_and_resolved(
    client: PaycoreClient, script: Script
) -> None:
    script.play(
        account_service_pb2.LinkExternalIdentifierResponse(account=account(), position="p"),
        account_service_pb2.ResolveExternalIdentifierResponse(account_id=11),
    )
    receipt = await client.link_identifier(11, NAME, idempotency_key="k")
    assert (receipt.account.id, receipt.idempotency_key, receipt.position) == (11, "k", "p")
    assert await client.resolve_identifier(NAME) == 11
    linked, resolved = script.requests
    assert (linked.idempotency_key, linked.account_id) == ("k", 11)
    for request in (linked, resolved):
        assert (request.identifier.scheme, request.identifier.value) == NAME


async def test_metadata_goes_out_and_comes_back(client: PaycoreClient, script: Script) -> None:
    script.play(account_service_pb2.CreateAccountResponse(account=account()))
    opened = await client.create_account(
        NewAccount("ada", "Nordbank", "EUR", metadata={"plan": "gold"})
    )
    assert opened.account.metadata == {"plan": "gold"}
    assert dict(script.requests[0].metadata) == {"plan": "gold"}
