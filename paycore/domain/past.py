"""What payers did before, where policy hangs on it: as it was read, and as the batch goes on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import NamedTuple

from paycore.domain.accounts import Account, AccountId
from paycore.domain.rules import GUARDED, PAYER_INITIATED, Rules
from paycore.domain.step_up_policy import StepUpPolicy, StepUpRule, day_of
from paycore.domain.transfers import (
    Command,
    GroupCommand,
    StepUpBasis,
    Transfer,
    TransferCommand,
    TransferKind,
)

PAYMENTS = frozenset({TransferKind.TRANSFER, TransferKind.WITHDRAWAL, TransferKind.CAPTURE})
"""Kinds after which a payee has been paid: a hold alone pays nobody."""

Pair = tuple[AccountId, AccountId]
"""A payer and a payee."""


class PastWanted(NamedTuple):
    """What must be read before a batch can be decided."""

    payers: AbstractSet[AccountId] = frozenset()
    """Those of whom it matters what they paid today without approval."""
    pairs: AbstractSet[Pair] = frozenset()
    """Those of whom it matters whether the one has paid the other."""


NO_PAST = PastWanted()


class Spent(NamedTuple):
    """What an account paid without approval on one day, in minor units.

    `day` is in days since 1970. On later days it has paid nothing; `total` is None where it is too
    much to be counted.
    """

    day: int
    total: int | None


class PastRead(NamedTuple):
    """What was read of what was wanted."""

    spent: Mapping[AccountId, Spent] = MappingProxyType({})
    paid: AbstractSet[Pair] = frozenset()
    """Those of the pairs wanted of whom the one has paid the other."""


NOTHING_READ = PastRead()


class Part(NamedTuple):
    """What one payer pays by one command, in minor units of `currency`."""

    payer: AccountId
    currency: str
    total: int
    payees: Mapping[AccountId, int]
    """What each gets by what the payer sets in motion: nothing by a fee or a settlement, which is
    in the total alone."""

    @property
    def largest(self) -> int:
        """The most that one payee gets."""
        return max(self.payees.values())


def parts_of(items: Iterable[TransferCommand]) -> dict[tuple[AccountId, str], Part]:
    """By payer and currency, what each pays by those items of a group that are GUARDED."""
    found: dict[tuple[AccountId, str], dict[AccountId, int]] = {}
    totals: dict[tuple[AccountId, str], int] = {}
    for item in items:
        if item.kind in GUARDED:
            key = (item.debit_account, item.currency)
            totals[key] = totals.get(key, 0) + item.amount
            payees = found.setdefault(key, {})
            by_payer = item.amount if item.kind in PAYER_INITIATED else 0
            payees[item.credit_account] = payees.get(item.credit_account, 0) + by_payer
    return {key: Part(key[0], key[1], totals[key], payees) for key, payees in found.items()}


def part_of(command: TransferCommand) -> Part:
    """What the payer of a single payment sets in motion."""
    return Part(
        command.debit_account,
        command.currency,
        command.amount,
        {command.credit_account: command.amount},
    )


def wanted_past(
    commands: Sequence[Command], rules: Rules, accounts: Mapping[AccountId, Account]
) -> PastWanted:
    """What must be known to decide `commands`: nothing where no policy hangs on it.

    What is approved, exempt or settled by the amount alone asks for nothing.
    """
    if not rules.hanging:
        return NO_PAST
    payers: set[AccountId] = set()
    pairs: set[Pair] = set()
    for command in commands:
        for client, part in _unapproved(command, rules):
            payer = accounts.get(part.payer)
            if payer is None or settled(rules, client, part, payer) is not None:
                continue
            policy = rules.policies[part.currency]
            if policy.daily_total is not None:
                payers.add(part.payer)
            pairs.update(
                (part.payer, payee)
                for payee, amount in part.payees.items()
                if policy.asks_for_payee(amount)
            )
    return PastWanted(payers, pairs) if payers or pairs else NO_PAST


def settled(
    rules: Rules, client: str, part: Part, payer: Account
) -> StepUpBasis | StepUpRule | None:
    """What `rules` say of `part` without its past; None where they hang on it."""
    return rules.step_up(client, part.total, part.currency, payer, part.largest)


def _unapproved(command: Command, rules: Rules) -> Iterable[tuple[str, Part]]:
    match command:
        case TransferCommand(client=client, authorization=None, currency=currency):
            if currency in rules.hanging and command.kind in PAYER_INITIATED:
                yield client, part_of(command)
        case GroupCommand(client=client, items=items):
            approved = {payer for payer, _ in command.authorizations}
            for part in parts_of(items).values():
                if part.currency in rules.hanging and part.payer not in approved:
                    yield client, part


class Past:
    """Answers for the commands of one batch, each of which sees what those before it posted."""

    def __init__(self, read: PastRead, posted: Sequence[Transfer]) -> None:
        """`posted` grows as the batch is decided."""
        self._read = read
        self._posted = posted
        self._seen = 0
        self._paid: set[Pair] = set()
        self._spent: dict[tuple[AccountId, int], int] = {}

    def forget_after(self, count: int) -> None:
        """All but the first `count` transfers of the batch are undone."""
        if self._seen > count:
            self._seen = 0
            self._paid.clear()
            self._spent.clear()

    def broken_rule(self, policy: StepUpPolicy, part: Part, at_us: int) -> StepUpRule | None:
        """The rule by which `part`, posted at `at_us`, needs approval for what was before it.

        What was not read, or cannot be counted, is taken to be too much.
        """
        self._catch_up()
        for payee, amount in part.payees.items():
            pair = (part.payer, payee)
            known = pair in self._paid or pair in self._read.paid
            if policy.asks_for_payee(amount) and not known:
                return StepUpRule.FIRST_PAYMENT
        if policy.daily_total is not None:
            spent = self._spent_on(part.payer, day_of(at_us))
            if spent is None or spent + part.total > policy.daily_total:
                return StepUpRule.DAILY_TOTAL
        return None

    def _spent_on(self, payer: AccountId, day: int) -> int | None:
        read = self._read.spent.get(payer)
        if read is None or read.day > day:
            return None
        before = read.total if read.day == day else 0
        return None if before is None else before + self._spent.get((payer, day), 0)

    def _catch_up(self) -> None:
        for transfer in self._posted[self._seen :]:
            payer = transfer.debit_account
            if transfer.kind in PAYMENTS:
                self._paid.add((payer, transfer.credit_account))
            if transfer.step_up is StepUpBasis.BELOW_THRESHOLD:
                key = (payer, day_of(transfer.created_at_us))
                self._spent[key] = self._spent.get(key, 0) + transfer.amount
        self._seen = len(self._posted)
