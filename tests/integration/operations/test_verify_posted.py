"""Verification agrees with what the posting engine writes, of every kind of command."""

from typing import Any

from operations.verify import verify_ledger
from operations.verify.rules import RULES
from operations.verify.scope import Last
from paycore.domain.accounts import AccountId
from paycore.domain.money import Minor
from paycore.domain.transfers import (
    ChildCommand,
    Declined,
    GroupCommand,
    GroupPosted,
    Posted,
    Transfer,
    TransferCommand,
    TransferKind,
)
from tests.support.command_core import CLIENT, CommandCore, command_core, payment
from tests.support.databases import OwnDatabase


def following(of: Transfer, kind: TransferKind, amount: int, **changes: Any) -> ChildCommand:
    back = kind in (TransferKind.REFUND, TransferKind.REVERSAL)
    sides = (of.debit_account, of.credit_account)
    debit, credit = reversed(sides) if back else sides
    command = ChildCommand(
        CLIENT, f"{kind}-{of.id}-{amount}", b"hash", kind, of.id, debit, credit, of.currency
    )
    return command._replace(amount=Minor(amount) if amount else None, **changes)


def item(debit: AccountId, credit: AccountId, amount: int) -> TransferCommand:
    return payment(debit, credit, amount, key="", request_hash=b"")


async def one(
    core: CommandCore, debit: AccountId, credit: AccountId, amount: int, kind: TransferKind
) -> Transfer:
    outcome = await core.one(payment(debit, credit, amount, kind=kind))
    assert isinstance(outcome, Posted), outcome
    return outcome.transfer


async def use_everything(core: CommandCore) -> None:
    """All kinds of commands, some of them declined."""
    outside, ada, bob = await core.open(2)
    paid = await one(core, ada, bob, 100, TransferKind.TRANSFER)
    fee = await one(core, ada, bob, 3, TransferKind.FEE)
    await one(core, ada, outside, 50, TransferKind.WITHDRAWAL)
    held = await one(core, ada, bob, 200, TransferKind.HOLD)
    let_go = await one(core, ada, outside, 70, TransferKind.HOLD)
    await one(core, ada, bob, 30, TransferKind.HOLD)
    outcomes = await core.submit(
        following(held, TransferKind.CAPTURE, 60, final=False),
        following(held, TransferKind.CAPTURE, 40, final=True),
        following(let_go, TransferKind.RELEASE, 0),
        following(paid, TransferKind.REFUND, 30),
        following(paid, TransferKind.REFUND, 70),
        following(fee, TransferKind.REVERSAL, 0),
    )
    assert all(isinstance(outcome, Posted) for outcome in outcomes), outcomes
    declined = await core.submit(
        following(paid, TransferKind.REFUND, 1),
        payment(ada, bob, 99_999),
        GroupCommand(CLIENT, f"poor-{ada}", b"hash", (item(ada, bob, 1), item(ada, bob, 9**9))),
    )
    assert all(isinstance(outcome, Declined) for outcome in declined), declined
    chain = GroupCommand(
        CLIENT, f"chain-{ada}", b"hash", (item(ada, bob, 500), item(bob, ada, 499))
    )
    assert isinstance(await core.one(chain), GroupPosted)


async def test_what_the_engine_posts_is_whole(database: OwnDatabase) -> None:
    async with command_core(database.dsn("command")) as core:
        # What the last journal row before lists, here a group, is looked at once more.
        for since, groups in ((None, 1), (Last(), 2), (Last(), 2)):
            await use_everything(core)
            report = await verify_ledger(database.dsn("audit"), since=since)
            assert [check for check in report.checks if not check.held] == []
            assert report.check(RULES["children"].text).examined == 6
            assert report.check(RULES["open_holds"].text).examined == 3
            assert report.check(RULES["groups"].text).examined == groups
