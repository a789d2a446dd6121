"""Where the outcomes of waiting commands go, what they weigh, and what they need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from command_service.posting.waiting import (
    Reported,
    Together,
    Waiting,
    needing,
    refuse,
    waiting,
    weight,
)
from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.transfers import Command, Outcome, Refused
from tests.support.samples import command, group


def refused(reason: Reason = Reason.CONTENTION) -> Refused:
    return Refused(PaycoreError(reason, "not now"))


def items(*commands: Command) -> tuple[Together, list[Waiting]]:
    together = Together(len(commands), deadline_s=60.0)
    return together, waiting(commands, together, 12.5)


async def test_a_call_is_done_with_its_last_outcome_in_the_order_of_its_commands() -> None:
    together, (one, other) = items(command(1, 2), command(3, 4))
    assert (together.deadline_s, together.outcomes) == (60.0, [None, None])
    first, second = refused(), refused()
    other.answer(second)
    assert (one.answered, other.answered) == (False, True)
    assert not together.done.done()
    one.answer(first)
    assert one.answered
    assert together.done.done()
    assert together.done.result() is None
    assert [
        found is wanted for found, wanted in zip(together.outcomes, [first, second], strict=True)
    ]


async def test_a_caller_that_gave_up_is_not_in_the_way_of_outcomes() -> None:
    together, (one,) = items(command(1, 2))
    together.done.cancel()
    one.answer(refused())
    assert together.done.cancelled()


async def test_what_waits_knows_its_command_its_accounts_and_since_when() -> None:
    single, several = command(1, 2), group(command(3, 4), command(4, 5))
    together, (one, other) = items(single, several)
    assert (one.command, one.submission, one.index, one.since_s) == (single, together, 0, 12.5)
    assert (other.command, other.submission, other.index) == (several, together, 1)
    assert (one.answered, other.answered) == (False, False)
    assert set(one.accounts) == {1, 2}
    assert set(other.accounts) == {3, 4, 5}
    assert (weight(single), weight(several)) == (1, 2)


async def test_those_that_need_one_of_some_accounts_are_told_from_the_others() -> None:
    _, (one, two, three) = items(command(1, 2), command(2, 3), command(4, 5))
    assert needing([one, two, three], [AccountId(3), AccountId(1)]) == ([one, two], [three])
    assert needing([three], []) == ([], [three])


async def test_all_that_is_refused_hears_the_same() -> None:
    together, both = items(command(1, 2), command(3, 4))
    error = PaycoreError(Reason.CONTENTION, "the accounts are contended")
    refuse(both, error)
    heard = [one.error for one in together.outcomes if isinstance(one, Refused)]
    assert heard == [error, error]
    assert all(one.answered for one in both)


async def test_outcomes_are_reported_with_their_commands_before_they_are_passed_on() -> None:
    commands: Sequence[Command] = [command(1, 2), command(3, 4)]
    told: list[Any] = []
    together = Together(2, deadline_s=9.0)

    def ended(which: Command, outcome: Outcome) -> None:
        assert together.outcomes[commands.index(which)] is None
        told.append((which, outcome))

    reported = Reported(together, commands, ended)
    assert reported.deadline_s == 9.0
    first, second = refused(), refused()
    reported.answer(1, second)
    reported.answer(0, first)
    assert told == [(commands[1], second), (commands[0], first)]
    assert together.outcomes[0] is first
    assert together.outcomes[1] is second
