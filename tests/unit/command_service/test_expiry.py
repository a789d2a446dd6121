"""Which expired holds a look frees, how, and when it looks again; no database here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from command_service.posting import expiry
from command_service.posting.expiry import CLIENT, ExpiryJob
from command_service.posting.store import UnreachableError
from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.money import Currency
from paycore.domain.plan import ParentState
from paycore.domain.transfers import (
    ChildCommand,
    Declined,
    Outcome,
    Posted,
    Refused,
    TransferId,
    TransferKind,
    TransferState,
    Visibility,
)
from tests.support.clocks import ManualClock
from tests.support.counted import counted
from tests.support.samples import parent


def posted(*, replayed: bool = False) -> Posted:
    return Posted(parent().transfer, None, Visibility(True, True), replayed=replayed)


@dataclass
class Ledger:
    """Holds whose time is up, and an engine whose outcomes are scripted."""

    clock: ManualClock
    expired: list[int] = field(default_factory=list)
    outcomes: Callable[[int], list[Outcome]] = lambda count: [posted()] * count
    asked: list[tuple[int, int]] = field(default_factory=list)
    submitted: list[tuple[list[ChildCommand], float]] = field(default_factory=list)

    async def find_expired_holds(self, now_us: int, most: int) -> list[TransferId]:
        self.asked.append((now_us, most))
        return [TransferId(one) for one in self.expired[:most]]

    async def find_parents(self, ids: Sequence[TransferId]) -> dict[TransferId, ParentState]:
        return {one: parent(TransferKind.HOLD, id=one, currency=Currency("USD")) for one in ids}

    async def submit(self, commands: Sequence[ChildCommand], deadline_s: float) -> list[Outcome]:
        self.submitted.append((list(commands), deadline_s))
        return self.outcomes(len(commands))


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(ManualClock(1_700_000_000.0))


def job(ledger: Any, *chances: float) -> ExpiryJob:
    """A job to which chance says `chances`, and 0 when these are used up."""
    left: Iterator[float] = iter(chances)
    return ExpiryJob(ledger, ledger, ledger.clock, lambda: next(left, 0.0))


async def test_nothing_is_submitted_where_nothing_expired(ledger: Ledger) -> None:
    assert await job(ledger).free() == 0
    assert ledger.asked == [(1_700_000_000_000_000, expiry.CANDIDATES)]
    assert ledger.submitted == []


async def test_a_hold_is_released_as_expired_under_a_key_of_its_own(ledger: Ledger) -> None:
    ledger.expired = [7]
    before = counted("paycore_holds_expired_total")
    assert await job(ledger).free() == 1
    assert counted("paycore_holds_expired_total") == before + 1
    [([release], deadline_s)] = ledger.submitted
    assert deadline_s == 1_700_000_000.0 + expiry.WITHIN_S
    assert release == ChildCommand(
        client=CLIENT,
        key="expire/7",
        request_hash=b"expire",
        kind=TransferKind.RELEASE,
        parent=TransferId(7),
        debit_account=AccountId(1),
        credit_account=AccountId(2),
        currency=Currency("USD"),
        released_as=TransferState.EXPIRED,
    )
    assert CLIENT == "paycore/expiry"


async def test_processes_choose_by_chance_and_so_many_at_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "AT_ONCE", 2)
    ledger.expired = [1, 2, 3]
    assert await job(ledger, 0.9, 0.1, 0.5).free() == 2
    [(releases, _)] = ledger.submitted
    assert [one.parent for one in releases] == [2, 3]


async def test_only_what_this_process_freed_is_counted(ledger: Ledger) -> None:
    ledger.expired = [1, 2, 3, 4]
    refused = Refused(PaycoreError(Reason.CONTENTION, "contended"))
    nothing: Any = None
    ledger.outcomes = lambda _: [
        posted(), posted(replayed=True), refused, Declined(nothing, None, True),
    ]  # fmt: skip
    before = counted("paycore_holds_expired_total")
    assert await job(ledger).free() == 1
    assert counted("paycore_holds_expired_total") == before + 1


@dataclass
class Slept:
    """How long the job paused, in seconds; it is cancelled at the last pause that is allowed."""

    pauses: list[float] = field(default_factory=list)
    most: int = 3

    async def sleep(self, pause_s: float) -> None:
        self.pauses.append(pause_s)
        if len(self.pauses) == self.most:
            raise asyncio.CancelledError


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> Slept:
    slept = Slept()
    # Of this module alone: others in this process sleep on.
    monkeypatch.setattr(expiry, "asyncio", SimpleNamespace(sleep=slept.sleep))
    return slept


async def test_it_looks_each_second_and_up_to_half_as_much_later(
    ledger: Ledger, slept: Slept
) -> None:
    with pytest.raises(asyncio.CancelledError):
        await job(ledger, 0.0, 0.5, 1.0).run()
    assert slept.pauses == [1.0, 1.25, 1.5]
    assert len(ledger.asked) == 3


async def test_it_goes_on_at_once_while_there_are_more_than_a_look_frees(
    ledger: Ledger, slept: Slept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "AT_ONCE", 2)
    slept.most = 1
    looks = iter([[1, 2, 3], [1, 2], [1]])

    async def found(now_us: int, most: int) -> list[TransferId]:
        ledger.asked.append((now_us, most))
        return [TransferId(one) for one in next(looks)]

    monkeypatch.setattr(ledger, "find_expired_holds", found)
    with pytest.raises(asyncio.CancelledError):
        await job(ledger).run()
    assert len(ledger.asked) == 3


@pytest.mark.parametrize(
    "failure",
    [UnreachableError("gone"), PaycoreError(Reason.OVERLOADED, "full"), ValueError("a defect")],
)
async def test_a_failure_is_counted_and_waits_for_the_next_look(
    ledger: Ledger, slept: Slept, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    failures = [failure]

    async def found(now_us: int, most: int) -> list[TransferId]:
        ledger.asked.append((now_us, most))
        if failures:
            raise failures.pop()
        return [TransferId(7)]

    monkeypatch.setattr(ledger, "find_expired_holds", found)
    slept.most = 2
    before = counted("paycore_holds_expiry_failures_total")
    with pytest.raises(asyncio.CancelledError):
        await job(ledger).run()
    assert counted("paycore_holds_expiry_failures_total") == before + 1
    assert slept.pauses == [1.0, 1.0]
    assert len(ledger.submitted) == 1
