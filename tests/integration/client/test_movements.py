"""Holds, what follows a transfer, and groups, as the client sends and reads them."""

from __future__ import annotations

import pytest

from paycore.client import Money, Note, PaycoreClient, TransferOrder
from paycore.client.errors import RiskDeclinedError, UnexpectedReplyError
from paycore.domain.errors import PaycoreError, Reason
from tests.integration.client.movements import (
    ACTOR,
    CALLS,
    GROUP,
    HOLD,
    SENT_GROUP,
    group_reply,
    keywords,
    reply_to,
)
from tests.integration.client.samples import POSITION
from tests.integration.client.scripted import Script


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_is_sent_exactly_and_its_reply_read(
    client: PaycoreClient, script: Script, name: str
) -> None:
    arguments, _, request = CALLS[name]
    script.play(reply_to(name))
    receipt = await getattr(client, name)(*arguments, **keywords(name))
    assert script.requests == [request]
    assert (receipt.transfer.id, receipt.idempotency_key) == (99, "key")
    assert (receipt.position, receipt.replayed) == (POSITION, True)


@pytest.mark.parametrize("name", sorted(set(CALLS) - {"hold_funds"}))
async def test_a_key_of_its_own_is_kept_over_retries(
    client: PaycoreClient, script: Script, name: str
) -> None:
    script.play(PaycoreError(Reason.RISK_UNAVAILABLE, "not now"), reply_to(name))
    receipt = await getattr(client, name)(*CALLS[name][0])
    first, second = script.requests
    assert first == second
    assert receipt.idempotency_key == first.idempotency_key != ""


async def test_nothing_said_of_the_amount_means_all(client: PaycoreClient, script: Script) -> None:
    script.play(reply_to("capture_hold"))
    await client.capture_hold(81)
    assert not script.requests[0].HasField("amount")
    assert script.requests[0].final
    script.play(reply_to("refund_transfer"))
    await client.refund_transfer(91)
    assert not script.requests[1].HasField("amount")


async def test_a_group_is_sent_in_order_under_one_key(
    client: PaycoreClient, script: Script
) -> None:
    script.play(PaycoreError(Reason.CONTENTION, "not now"), group_reply())
    receipt = await client.submit_transfer_group(GROUP, actor=ACTOR, idempotency_key="key")
    assert script.requests == [SENT_GROUP, SENT_GROUP]
    assert (receipt.group, [one.id for one in receipt.transfers]) == (70, [99, 100])


async def test_a_group_with_too_few_transfers_in_its_reply_is_not_believed(
    client: PaycoreClient, script: Script
) -> None:
    script.play(group_reply(1))
    with pytest.raises(UnexpectedReplyError):
        await client.submit_transfer_group(GROUP)


@pytest.mark.parametrize("own", [{"idempotency_key": "mine"}, {"actor": ACTOR}])
async def test_what_is_the_groups_is_not_an_items(
    client: PaycoreClient, script: Script, own: dict[str, object]
) -> None:
    order = TransferOrder(11, 12, Money(1, "EUR"), **own)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="for a group"):
        await client.submit_transfer_group([order])
    with pytest.raises(ValueError, match="no metadata"):
        await client.release_hold(81, note=Note(metadata={"k": "v"}))
    assert script.requests == []


@pytest.mark.parametrize(("stored", "known"), [({"decline_id": "5"}, True), ({}, False)])
async def test_only_a_stored_decline_settles_what_an_earlier_attempt_did(
    client: PaycoreClient, script: Script, stored: dict[str, str], known: bool
) -> None:
    script.play(
        PaycoreError(Reason.DATABASE_UNAVAILABLE, "perhaps"),
        PaycoreError(Reason.RISK_DECLINED, "no", {"rule": "r", **stored}),
    )
    with pytest.raises(RiskDeclinedError) as refused:
        await client.hold_funds(HOLD)
    assert refused.value.outcome_unknown is not known
