"""What one client sees of another's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import grpc
import pytest

from paycore.domain.errors import Reason
from tests.integration.query_service.calls import Caller, refused
from tests.integration.query_service.conftest import Index
from tests.integration.query_service.ledger_model import AccountRow, Ledger, TransferRow

Connect = Callable[[str], grpc.aio.Channel]


class Scene(NamedTuple):
    """app's payer pays loadtest's payee; foreign and abroad are of neither."""

    payer: AccountRow
    payee: AccountRow
    foreign: AccountRow
    abroad: AccountRow
    paid: TransferRow
    declined: TransferRow
    unseen: TransferRow
    asked: TransferRow
    declined_unseen: TransferRow


@pytest.fixture
async def scene(ledger: Ledger, index: Index) -> Scene:
    def account(opened_by: str) -> AccountRow:
        return ledger.open_account(
            currency="EUR",
            institution="west",
            opened_by=opened_by,
            balance=70,
            held=20,
            overdraft_limit=5,
            version=3,
        )

    payer, payee = account("app"), account("loadtest")
    foreign, abroad = account("elsewhere"), account("elsewhere")
    private = {
        "user_id": "u-9",
        "metadata": {"order": "17"},
        "description": "for May",
        "kind": "TRANSFER",
        "debit_held_after": 20,
    }
    common = {"client": "app", "declined": False, **private}
    scene = Scene(
        payer,
        payee,
        foreign,
        abroad,
        ledger.move(payer, payee, **common),
        ledger.move(payer, payee, **{**common, "declined": True}),
        ledger.move(foreign, abroad, **{**common, "client": "elsewhere"}),
        ledger.move(foreign, abroad, **{**common, "client": "loadtest"}),
        ledger.move(foreign, abroad, **{**common, "client": "loadtest", "declined": True}),
    )
    await index.add(ledger.documents())
    return scene


async def test_the_payers_side_sees_all_but_the_payees_balance(
    scene: Scene, connect: Connect
) -> None:
    shown = (await Caller.on(connect("app")).transfer(scene.paid.id)).transfer
    assert shown.debit_balance_after == scene.paid.debit_balance_after
    assert shown.debit_held_after == 20
    assert not shown.HasField("credit_balance_after")
    assert (shown.actor.user_id, dict(shown.metadata)) == ("u-9", {"order": "17"})


async def test_the_payees_side_sees_neither_the_payers_balance_nor_who_acted(
    scene: Scene, connect: Connect
) -> None:
    loadtest = Caller.on(connect("loadtest"))
    by_id = (await loadtest.transfer(scene.paid.id)).transfer
    (on_page,) = await loadtest.walk(scene.payee.id, include_declines=True)
    assert by_id == on_page
    assert by_id.credit_balance_after == scene.paid.credit_balance_after
    assert not by_id.HasField("debit_balance_after")
    assert not by_id.HasField("debit_held_after")
    assert not by_id.HasField("actor")
    assert dict(by_id.metadata) == {}
    assert by_id.description == "for May"


async def test_a_decline_is_the_payers_business(scene: Scene, connect: Connect) -> None:
    error = await refused(Caller.on(connect("loadtest")).transfer(scene.declined.id))
    assert error.reason is Reason.TRANSFER_NOT_FOUND
    shown = (await Caller.on(connect("app")).transfer(scene.declined.id)).transfer
    assert shown.decline.reason == "INSUFFICIENT_FUNDS"
    assert shown.decline.metadata["available"] == "3"


async def test_who_asked_in_vain_learns_why_but_not_what_the_payer_has(
    scene: Scene, connect: Connect
) -> None:
    shown = (await Caller.on(connect("loadtest")).transfer(scene.declined_unseen.id)).transfer
    assert shown.decline.reason == "INSUFFICIENT_FUNDS"
    assert "available" not in shown.decline.metadata


async def test_anothers_transfer_cannot_be_told_from_none(scene: Scene, connect: Connect) -> None:
    app = Caller.on(connect("app"))
    hidden = await refused(app.transfer(scene.unseen.id))
    absent = await refused(app.transfer(99))
    assert hidden.reason is absent.reason is Reason.TRANSFER_NOT_FOUND
    assert hidden.message.replace(str(scene.unseen.id), "99") == absent.message
    assert hidden.metadata == {"id": str(scene.unseen.id)}
    assert absent.metadata == {"id": "99"}


async def test_a_client_sees_what_it_asked_for_without_the_balances(
    scene: Scene, connect: Connect
) -> None:
    shown = (await Caller.on(connect("loadtest")).transfer(scene.asked.id)).transfer
    assert not shown.HasField("debit_balance_after")
    assert not shown.HasField("debit_held_after")
    assert not shown.HasField("credit_balance_after")
    assert shown.actor.user_id == "u-9"


async def test_why_a_payment_is_held_is_the_payers_business(
    ledger: Ledger, index: Index, connect: Connect
) -> None:
    def account(opened_by: str) -> AccountRow:
        return ledger.open_account(currency="EUR", institution="west", opened_by=opened_by)

    held = {"kind": "HOLD", "declined": False, "review": "new-payee", "debit_held_after": 5}
    ours = ledger.move(account("app"), account("loadtest"), client="app", **held)
    asked = ledger.move(account("app"), account("elsewhere"), client="loadtest", **held)
    await index.add(ledger.documents())
    app, loadtest = Caller.on(connect("app")), Caller.on(connect("loadtest"))
    assert (await app.transfer(ours.id)).transfer.review_rule == "new-payee"
    assert (await loadtest.transfer(asked.id)).transfer.review_rule == "new-payee"
    to_payee = (await loadtest.transfer(ours.id)).transfer
    assert (to_payee.review_rule, to_payee.HasField("debit_held_after")) == ("", False)
    assert to_payee.remaining_minor_units == ours.amount


async def test_an_account_needs_a_grant_to_read_it(scene: Scene, connect: Connect) -> None:
    app = Caller.on(connect("app"))

    def activity(account: int) -> Awaitable[object]:
        return app.activity(account, 0, 60_000_000, interval=1)

    def kinds(account: int) -> Awaitable[object]:
        return app.kinds(account_id=account)

    def declines(account: int) -> Awaitable[object]:
        return app.declines(account_id=account)

    calls: list[Callable[[int], Awaitable[object]]] = [
        app.balance, app.page, app.counterparties, activity, kinds, declines,
    ]  # fmt: skip
    for call in calls:
        error = await refused(call(scene.payee.id))
        assert error.reason is Reason.NOT_PERMITTED
        assert error.metadata == {"account": str(scene.payee.id), "grant": "READ"}
        error = await refused(call(99))
        assert error.reason is Reason.ACCOUNT_NOT_FOUND
        assert error.metadata == {"id": "99"}


async def test_a_remembered_account_stays_closed_to_others(scene: Scene, connect: Connect) -> None:
    app, loadtest = Caller.on(connect("app")), Caller.on(connect("loadtest"))
    for _ in range(2):
        assert (await loadtest.page(scene.payee.id)).transfers
        assert (await refused(app.page(scene.payee.id))).reason is Reason.NOT_PERMITTED


async def test_balances_are_those_of_the_account(scene: Scene, connect: Connect) -> None:
    for caller in ("app", "analyst", "operator"):
        reply = await Caller.on(connect(caller)).balance(scene.payer.id)
        assert (reply.balance.minor_units, reply.balance.currency) == (70, "EUR")
        assert (reply.available_minor_units, reply.held_minor_units, reply.version) == (55, 20, 3)


async def test_an_analyst_with_read_on_all_sees_all(scene: Scene, connect: Connect) -> None:
    analyst = Caller.on(connect("analyst"))
    for row in (scene.paid, scene.declined, scene.unseen):
        assert (await analyst.transfer(row.id)).transfer.id == row.id


async def test_who_is_granted_no_method_is_refused_each(scene: Scene, connect: Connect) -> None:
    stranger = Caller.on(connect("stranger"))
    for call in (
        stranger.transfer(scene.paid.id),
        stranger.page(scene.payer.id),
        stranger.balance(scene.payer.id),
        stranger.counterparties(scene.payer.id),
        stranger.volume(0, 60_000_000, interval=1),
        stranger.kinds(),
        stranger.institutions(),
        stranger.activity(scene.payer.id, 0, 60_000_000, interval=1),
        stranger.declines(),
        stranger.latencies(),
    ):
        error = await refused(call)
        assert error.reason is Reason.NOT_PERMITTED
        assert error.metadata["client"] == "stranger"
