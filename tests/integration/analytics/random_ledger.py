"""A ledger of random payments, posted by the engine itself at times that the test chooses."""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from command_service.accounts.commands import AccountStored
from paycore.domain.accounts import AccountId, AccountKind, AccountStatus
from paycore.domain.money import Currency, Minor
from paycore.domain.transfers import (
    ChildCommand,
    Command,
    Posted,
    RiskDecision,
    RiskVerdict,
    Transfer,
    TransferKind,
)
from paycore.runtime.clock import SystemClock
from tests.support.account_commands import change
from tests.support.command_core import CommandCore, opening, payment

CURRENCIES = ("EUR", "USD", "JPY", "BHD")
INSTITUTIONS = ("north", "south", "west")
CLIENTS = ("app", "loadtest", "elsewhere")
HOUR_US = 3_600_000_000
AMPLE = 2**62
HUGE = 2**61 + 1
"""Five times this is beyond int64."""
TOGETHER = 12
"""Commands at one time; so many fit into a millisecond of ids."""

SINGLES = (TransferKind.TRANSFER, TransferKind.FEE, TransferKind.HOLD)
BORDER = (TransferKind.DEPOSIT, TransferKind.WITHDRAWAL)


class SteppedClock:
    """The date is what the test says; what is waited for goes by the machine's clock."""

    def __init__(self, at_us: int) -> None:
        self.at_us = at_us
        self._real = SystemClock()

    def now_us(self) -> int:
        return self.at_us

    def monotonic_s(self) -> float:
        return self._real.monotonic_s()


@dataclass(frozen=True, slots=True)
class Opened:
    id: AccountId
    currency: str
    institution: str
    opened_by: str
    external: bool


@dataclass
class RandomLedger:
    """Posts on `core`, whose clock is `clock`."""

    core: CommandCore
    clock: SteppedClock
    chance: random.Random
    accounts: list[Opened] = field(default_factory=list)
    followable: list[Transfer] = field(default_factory=list)

    async def open(self) -> None:
        """Customers of each client, and the world outside, at each institution."""
        for currency in CURRENCIES:
            for institution in INSTITUTIONS:
                for opened_by in (*CLIENTS, "loadtest"):
                    external = opened_by == "elsewhere"
                    kind = AccountKind.EXTERNAL if external else AccountKind.CUSTOMER
                    # Some may go far below zero, so that huge amounts find payers; most may not.
                    limit = AMPLE if not external and self.chance.random() < 0.4 else 0
                    command = opening(
                        client=opened_by,
                        institution=institution,
                        currency=Currency(currency),
                        kind=kind,
                        overdraft_limit=Minor(limit),
                    )
                    [outcome] = await self.core.open_accounts([command])
                    assert isinstance(outcome, AccountStored), outcome
                    self.accounts.append(
                        Opened(outcome.account.id, currency, institution, opened_by, external)
                    )
        frozen = self.chance.choice([one for one in self.accounts if one.opened_by == "loadtest"])
        await self.core.change(change(frozen.id, AccountStatus.FROZEN))

    async def move_huge_sums(self) -> None:
        """Let more than int64 holds come in and go out again, of each currency."""
        for currency in CURRENCIES:
            outside, inside = (
                next(
                    one
                    for one in self.accounts
                    if one.external is external and one.currency == currency
                )
                for external in (True, False)
            )
            for turn in range(10):
                kind = BORDER[turn % 2]
                sides = (outside, inside) if kind is TransferKind.DEPOSIT else (inside, outside)
                command = payment(
                    sides[0].id,
                    sides[1].id,
                    HUGE,
                    kind=kind,
                    client=self.chance.choice(CLIENTS),
                    currency=Currency(currency),
                )
                [outcome] = await self.core.submit(command)
                assert isinstance(outcome, Posted), outcome
                self._go_on()

    async def post(self, commands: int) -> None:
        """Ask for at least so many commands; time goes on between them, often to a full hour."""
        while commands > 0:
            asked = [self._command() for _ in range(self.chance.randint(1, TOGETHER))]
            outcomes = await self.core.submit(*asked)
            self.followable += [one.transfer for one in outcomes if isinstance(one, Posted)]
            commands -= len(asked)
            self._go_on()

    def _go_on(self) -> None:
        clock = self.clock
        if self.chance.random() < 0.3:
            clock.at_us = (clock.at_us // HOUR_US + 1) * HOUR_US
        else:
            clock.at_us += self.chance.randint(2_000, 40 * 60_000_000)

    def _command(self) -> Command:
        if self.followable and self.chance.random() < 0.35:
            return self._child(self.chance.choice(self.followable))
        kind = self.chance.choice((*SINGLES, *BORDER))
        currency = self.chance.choice(CURRENCIES)
        inside, outside = (
            [one for one in self.accounts if one.currency == currency and one.external is external]
            for external in (False, True)
        )
        sides: Sequence[Opened]
        if kind in BORDER:
            sides = [self.chance.choice(outside), self.chance.choice(inside)]
            if kind is TransferKind.WITHDRAWAL:
                sides = sides[::-1]
        else:
            sides = self.chance.sample(inside, 2)
        changes: dict[str, Any] = {}
        if kind in (TransferKind.TRANSFER, TransferKind.HOLD) and self.chance.random() < 0.1:
            verdict = self.chance.choice((RiskDecision.DECLINE, RiskDecision.REVIEW))
            changes["risk"] = RiskVerdict(verdict, "new-payee")
        return payment(
            sides[0].id,
            sides[1].id,
            self._amount(),
            kind=kind,
            client=self.chance.choice(CLIENTS),
            currency=Currency(currency),
            **changes,
        )

    def _amount(self) -> int:
        pick = self.chance
        # A sum of two of the second sort is beyond doubles, one of ten of the last beyond int64.
        return pick.choice(
            (
                pick.randint(1, 9),
                pick.randint(1, 10**6),
                pick.randint(2**52, 2**53) | 1,
                pick.randint(2**59, 2**60) | 1,
            )
        )

    def _child(self, parent: Transfer) -> ChildCommand:
        pick = self.chance
        forth = parent.kind is TransferKind.HOLD
        kinds = (
            (TransferKind.CAPTURE, TransferKind.RELEASE)
            if forth
            else (TransferKind.REFUND, TransferKind.REVERSAL)
        )
        kind = pick.choice(kinds)
        whole = kind in (TransferKind.REVERSAL, TransferKind.RELEASE) or pick.random() < 0.3
        # Of most amounts chance alone would hardly ever ask for too much.
        most = parent.amount + 1
        amount = most if pick.random() < 0.15 else pick.randint(1, most)
        key = secrets.token_hex(8)
        return ChildCommand(
            client=pick.choice(CLIENTS),
            key=key,
            request_hash=key.encode(),
            kind=kind,
            parent=parent.id,
            debit_account=parent.debit_account if forth else parent.credit_account,
            credit_account=parent.credit_account if forth else parent.debit_account,
            currency=parent.currency,
            amount=None if whole else Minor(amount),
        )
