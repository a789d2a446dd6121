"""What waits for an operator is listed, from the ledger itself, until it is settled."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from typer.testing import CliRunner

from operations.cli.app import app
from paycore.domain.accounts import AccountId
from paycore.domain.transfers import (
    ChildCommand,
    Declined,
    Posted,
    RiskDecision,
    RiskVerdict,
    Transfer,
    TransferKind,
    TransferState,
)
from tests.support.command_core import CLIENT, CommandCore, payment, posted
from tests.support.databases import OwnDatabase

REVIEW = RiskVerdict(RiskDecision.REVIEW, "odd-hour")


@pytest.fixture(autouse=True)
def deployment(monkeypatch: pytest.MonkeyPatch, database: OwnDatabase) -> None:
    monkeypatch.setenv("PAYCORE_COMMAND_TARGET", "127.0.0.1:1")
    monkeypatch.setenv("PAYCORE_INSECURE", "true")
    monkeypatch.setenv("PAYCORE_AUDIT_DSN", database.dsn("audit"))


async def listed(*arguments: str) -> Any:
    """What the command line prints, in JSON; the text is printed too."""
    text = await asyncio.to_thread(CliRunner().invoke, app, [*arguments])
    assert text.exit_code == 0, text.output
    result = await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


async def followed(
    core: CommandCore, parent: Transfer, kind: TransferKind, key: str, **changes: Any
) -> Any:
    debit, credit = parent.debit_account, parent.credit_account
    if kind is TransferKind.REVERSAL:
        debit, credit = credit, debit
    command = ChildCommand(
        changes.pop("client", CLIENT),
        key,
        key.encode(),
        kind,
        parent.id,
        debit,
        credit,
        parent.currency,
        **changes,
    )
    return await core.one(command)


async def paid(core: CommandCore, a: AccountId, b: AccountId, amount: int, **more: Any) -> Transfer:
    (done,) = posted([await core.one(payment(a, b, amount, **more))])
    return done.transfer


async def test_reviews_are_listed_until_they_are_settled(core: CommandCore) -> None:
    _, a, b = await core.open(2)
    assert await listed("review", "list") == []
    held = [await paid(core, a, b, amount, risk=REVIEW, reference="r") for amount in (1, 2, 3)]
    await paid(
        core, a, b, 4, kind=TransferKind.HOLD, expires_at_us=core.clock.now_us() + 60_000_000
    )
    found = await listed("review", "list")
    assert [int(one["transfer"]) for one in found] == [one.id for one in held]
    assert found[1]["rule"] == "odd-hour"
    assert found[1]["amount"] == {"minor_units": "2", "currency": "EUR"}
    assert (int(found[1]["debit_account"]), int(found[1]["credit_account"])) == (a, b)
    assert (found[1]["client"], found[1]["reference"]) == (CLIENT, "r")
    assert len(await listed("review", "list", "--limit", "2")) == 2
    operator = {"client": "operator", "review": True}
    approved = await followed(core, held[0], TransferKind.CAPTURE, "one", **operator)
    refused = await followed(
        core,
        held[1],
        TransferKind.RELEASE,
        "two",
        released_as=TransferState.ROLLED_BACK,
        **operator,
    )
    assert isinstance(approved, Posted)
    assert isinstance(refused, Posted)
    assert [int(one["transfer"]) for one in await listed("review", "list")] == [held[2].id]


async def test_reversals_are_listed_while_money_lacks_and_nothing_has_followed(
    core: CommandCore,
) -> None:
    outside, a, b = await core.open(2, balance=100)
    first, second = await paid(core, a, b, 60), await paid(core, a, b, 40)
    await paid(core, b, outside, 200, kind=TransferKind.WITHDRAWAL)
    for key, one in (("f1", first), ("s1", second), ("f2", first)):
        assert isinstance(await followed(core, one, TransferKind.REVERSAL, key), Declined)
    short = await core.one(payment(b, a, 1))
    assert isinstance(short, Declined)
    found = await listed("reversals", "list")
    assert [int(one["transfer"]) for one in found] == [first.id, second.id]
    assert found[0]["amount"] == {"minor_units": "60", "currency": "EUR"}
    assert (int(found[0]["debit_account"]), found[0]["available"]) == (b, 0)
    await paid(core, outside, b, 60, kind=TransferKind.DEPOSIT)
    assert [one["available"] for one in await listed("reversals", "list")] == [60, 60]
    assert isinstance(await followed(core, first, TransferKind.REVERSAL, "f3"), Posted)
    found = await listed("reversals", "list")
    assert [int(one["transfer"]) for one in found] == [second.id]
