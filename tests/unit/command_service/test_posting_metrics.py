"""What is counted of outcomes, and how long the batch's first waited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from command_service.posting import metrics
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.transfers import Declined, GroupPosted, Outcome, Posted, Refused, Visibility
from tests.support.counted import counted
from tests.support.samples import parent

SEEN = Visibility(True, True)


@dataclass(frozen=True)
class Decline:
    """As much of one as is asked."""

    reason: str


def posted(*, replayed: bool = False) -> Posted:
    return Posted(parent().transfer, None, SEEN, replayed=replayed)


def outcomes(reason: str) -> float:
    return counted("paycore_outcomes_total", reason=reason)


def test_each_outcome_is_counted_by_what_it_is() -> None:
    declined: Any = Decline("INSUFFICIENT_FUNDS")
    told: list[Outcome] = [
        posted(), posted(), posted(replayed=True), posted(replayed=True), posted(replayed=True),
        GroupPosted(1, [posted(), posted(), posted()]),
        GroupPosted(2, [posted(), posted()], replayed=True),
        Declined(declined, None, True), Declined(declined, None, True),
        Refused(PaycoreError(Reason.CONTENTION, "contended")),
    ]  # fmt: skip
    expected = {"POSTED": 5, "REPLAYED": 4, "INSUFFICIENT_FUNDS": 2, "CONTENTION": 1}
    before = {reason: outcomes(reason) for reason in expected}
    metrics.count(told)
    assert {reason: outcomes(reason) - before[reason] for reason in expected} == expected


@dataclass(frozen=True)
class Item:
    since_s: float


def test_the_wait_of_a_batch_is_that_of_its_first() -> None:
    name = "paycore_queue_wait_seconds"
    before = [counted(f"{name}_{part}") for part in ("sum", "count")]
    metrics.started([Item(3.0), Item(1.0), Item(2.5)], 4.0)
    # A clock that was read a moment before is no wait below zero.
    metrics.started([Item(5.0)], 4.0)
    metrics.started([Item(4.0)], 4.0)
    after = [counted(f"{name}_{part}") for part in ("sum", "count")]
    waited_s, batches = (late - early for late, early in zip(after, before, strict=True))
    assert batches == 3
    # What the process has summed up before takes digits from it.
    assert waited_s == pytest.approx(3.0)
