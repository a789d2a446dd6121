"""Of several faults of what follows a transfer, the earliest check speaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from paycore.domain.accounts import Account, AccountStatus
from paycore.domain.errors import STORED_DECLINES, Reason
from paycore.domain.grants import GrantAction, GrantScope
from paycore.domain.money import MAX_MINOR, Currency, Minor
from paycore.domain.plan import ParentState, StoredOutcome
from paycore.domain.position import Position
from paycore.domain.transfers import (
    ChildCommand,
    Declined,
    Posted,
    Refused,
    TransferKind,
    TransferState,
)
from tests.support.samples import CLIENT, NOW_US, account, child, parent, plan, rules

READER = "reader"
"""May read all and do nothing."""


@dataclass
class Scene:
    """A capture or a refund, its parent and the accounts, with any number of faults in them."""

    asked: ChildCommand
    parent: ParentState
    payer: Account = field(default_factory=lambda: account(1, held=Minor(100)))
    payee: Account = field(default_factory=lambda: account(2))
    used: bool = False

    @property
    def back(self) -> bool:
        return self.asked.kind is TransferKind.REFUND

    def change(self, **changes: Any) -> None:
        self.asked = self.asked._replace(**changes)

    def change_parent(self, **changes: Any) -> None:
        self.parent = self.parent._replace(**changes)

    def change_transfer(self, **changes: Any) -> None:
        self.parent = self.parent._replace(transfer=self.parent.transfer._replace(**changes))

    def change_debited(self, **changes: Any) -> None:
        if self.back:
            self.payee = self.payee._replace(**changes)
        else:
            self.payer = self.payer._replace(**changes)

    def change_credited(self, **changes: Any) -> None:
        if self.back:
            self.payer = self.payer._replace(**changes)
        else:
            self.payee = self.payee._replace(**changes)

    def reason(self) -> str | None:
        """Why it is refused or declined; None when it posts."""
        key = (self.asked.client, self.asked.key)
        stored = {key: StoredOutcome(b"of another request", None, None, Position(1, 1, 1))}
        (outcome,) = plan(
            [self.payer, self.payee],
            [self.asked],
            rules((READER, GrantAction.READ, GrantScope.ALL, "")),
            stored=stored if self.used else {},
            parents=[self.parent],
        ).outcomes
        match outcome:
            case Posted():
                return None
            case Declined():
                return outcome.decline.reason
            case _:
                assert isinstance(outcome, Refused)
                return outcome.error.reason


Fault = tuple[Reason, Callable[[Scene], None]]

BEFORE: Sequence[Fault] = (
    (Reason.TRANSFER_NOT_FOUND, lambda scene: scene.change(client="stranger")),
    (Reason.IDEMPOTENCY_KEY_REUSED, lambda scene: setattr(scene, "used", True)),
    (Reason.NOT_PERMITTED, lambda scene: scene.change(client=READER)),
    (Reason.ILLEGAL_STATE, lambda scene: scene.change_transfer(kind=TransferKind.RELEASE)),
    (Reason.CURRENCY_MISMATCH, lambda scene: scene.change(asked_currency=Currency("USD"))),
)
AFTER: Sequence[Fault] = (
    (Reason.EXCEEDS_REMAINING, lambda scene: scene.change(amount=Minor(101))),
    (Reason.ACCOUNT_CLOSED, lambda scene: scene.change_credited(status=AccountStatus.CLOSED)),
    (Reason.ACCOUNT_FROZEN, lambda scene: scene.change_debited(status=AccountStatus.FROZEN)),
)
OVERFLOW: Fault = (
    Reason.BALANCE_OVERFLOW,
    lambda scene: scene.change_credited(balance=Minor(MAX_MINOR)),
)

OF_A_CAPTURE: Sequence[Fault] = (
    *BEFORE,
    OVERFLOW,
    (Reason.HOLD_NOT_OPEN, lambda scene: scene.change_transfer(expires_at_us=NOW_US)),
    *AFTER,
)
OF_A_REFUND: Sequence[Fault] = (
    *BEFORE,
    (Reason.ILLEGAL_STATE, lambda scene: scene.change_parent(state=TransferState.REVERSED)),
    OVERFLOW,
    *AFTER,
    (Reason.INSUFFICIENT_FUNDS, lambda scene: scene.change_debited(balance=Minor(99))),
)
"""Every check in the order in which they run."""


def scene_of(kind: TransferKind) -> Scene:
    hold = kind is TransferKind.CAPTURE
    followed = parent(TransferKind.HOLD if hold else TransferKind.TRANSFER, client="another")
    return Scene(child(kind, 100), followed)


@pytest.mark.parametrize(
    ("kind", "faults", "first"),
    [
        pytest.param(kind, faults, first, id=f"{kind} {faults[first][0]} {first}")
        for kind, faults in (
            (TransferKind.CAPTURE, OF_A_CAPTURE),
            (TransferKind.REFUND, OF_A_REFUND),
        )
        for first in range(len(faults))
    ],
)
def test_the_earliest_check_speaks(kind: TransferKind, faults: Sequence[Fault], first: int) -> None:
    scene = scene_of(kind)
    for _, spoil in reversed(faults[first:]):
        spoil(scene)
    assert scene.reason() == faults[first][0]


@pytest.mark.parametrize("kind", [TransferKind.CAPTURE, TransferKind.REFUND])
def test_without_a_fault_it_posts(kind: TransferKind) -> None:
    scene = scene_of(kind)
    assert scene.asked.client == CLIENT
    assert scene.reason() is None


@pytest.mark.parametrize("faults", [OF_A_CAPTURE, OF_A_REFUND], ids=["capture", "refund"])
def test_what_is_remembered_comes_last(faults: Sequence[Fault]) -> None:
    remembered = [reason in STORED_DECLINES for reason, _ in faults]
    assert remembered == sorted(remembered)
