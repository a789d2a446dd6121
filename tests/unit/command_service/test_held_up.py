"""Who waits for accounts that others hold: how long, how many, and what they hear; no database."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import pytest

from command_service import anew
from command_service.posting import held_up
from command_service.posting.held_up import LOOKS_S, MOST_WAITING, SUSPECTED_FOR_S, HeldUp
from command_service.posting.store import UnreachableError
from command_service.posting.waiting import Together, Waiting, waiting
from paycore.domain.accounts import AccountId
from paycore.domain.errors import Reason
from paycore.domain.transfers import Posted, Refused, Visibility
from tests.support.clocks import ManualClock
from tests.support.samples import command, parent

A, B, C = AccountId(1), AccountId(2), AccountId(3)


@dataclass
class World:
    """Accounts that somebody holds, and all that HeldUp does about it."""

    clock: ManualClock = field(default_factory=ManualClock)
    held: set[AccountId] = field(default_factory=set)
    looked: list[frozenset[AccountId]] = field(default_factory=list)
    posted: list[list[Waiting]] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    changes: list[set[int]] = field(default_factory=list)
    frees: dict[int, AccountId] = field(default_factory=dict)
    """What becomes free during which pause, from 1 on."""
    failures: dict[int, Exception] = field(default_factory=dict)
    """What goes wrong at which look, from 1 on."""

    def held_up(self) -> HeldUp:
        store: Any = self
        made = HeldUp(store, self.clock, self.post, lambda: self.changes.append(set(made.accounts)))
        return made

    async def find_held(self, accounts: Collection[AccountId]) -> frozenset[AccountId]:
        self.looked.append(frozenset(accounts))
        if failure := self.failures.get(len(self.looked)):
            raise failure
        return frozenset(self.held & set(accounts))

    async def post(self, batch: list[Waiting]) -> None:
        self.posted.append(batch)
        for item in batch:
            item.answer(Posted(parent().transfer, None, Visibility(True, True)))

    async def pause(self, wait_s: float) -> None:
        self.pauses.append(wait_s)
        self.held.discard(self.frees.get(len(self.pauses), AccountId(0)))
        await asyncio.sleep(0)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(anew, "pause", world.pause)
    return world


def asked(*pairs: tuple[AccountId, AccountId]) -> tuple[Together, list[Waiting]]:
    together = Together(len(pairs), 60.0)
    return together, waiting([command(*pair) for pair in pairs], together, 0.0)


def reasons(together: Together) -> list[Reason]:
    return [one.error.reason for one in together.outcomes if isinstance(one, Refused)]


async def ended(waits: HeldUp) -> None:
    while waits.tasks:
        await asyncio.wait(waits.tasks)
        await asyncio.sleep(0)


async def test_they_are_posted_once_the_account_is_free(world: World) -> None:
    waits = world.held_up()
    world.held, world.frees = {A}, {2: A}
    together, items = asked((A, B), (A, C))
    waits.wait(items, frozenset({A}))
    assert waits.accounts == {A}
    [task] = waits.tasks
    assert task.get_name() == "held-up"
    await ended(waits)
    assert world.pauses == [0.1, 0.2]
    assert world.looked == [{A}, {A}]
    assert world.posted == [items]
    assert together.done.done()
    assert waits.accounts == set()
    # The batches are told when the account is theirs again, not before.
    assert world.changes == [set()]


async def test_who_needs_only_what_is_free_already_does_not_wait_for_the_others(
    world: World,
) -> None:
    waits = world.held_up()
    world.held, world.frees = {A, B}, {1: B, 3: A}
    _, items = asked((A, C), (B, C))
    waits.wait(items, frozenset({A, B}))
    await ended(waits)
    assert world.posted == [[items[1]], [items[0]]]
    assert world.looked == [{A, B}, {A}, {A}]


async def test_what_stays_held_is_contention(world: World) -> None:
    waits = world.held_up()
    world.held = {A}
    together, items = asked((A, B))
    waits.wait(items, frozenset({A}))
    await ended(waits)
    assert world.pauses == list(LOOKS_S)
    assert reasons(together) == [Reason.CONTENTION]
    assert world.posted == []


async def test_a_database_out_of_reach_is_looked_at_again(world: World) -> None:
    waits = world.held_up()
    world.failures = {1: UnreachableError("gone")}
    together, items = asked((A, B))
    waits.wait(items, frozenset({A}))
    await ended(waits)
    assert world.looked == [{A}, {A}]
    assert world.posted == [items]
    assert reasons(together) == []


async def test_a_defect_is_told_to_those_who_have_no_answer(world: World) -> None:
    waits = world.held_up()
    world.held, world.frees = {A, B}, {1: B}
    world.failures = {2: ValueError("a defect")}
    together, items = asked((A, C), (B, C))
    waits.wait(items, frozenset({A, B}))
    await ended(waits)
    assert isinstance(together.outcomes[1], Posted)
    refused = together.outcomes[0]
    assert isinstance(refused, Refused)
    assert refused.error.reason is Reason.INTERNAL
    assert len(refused.error.metadata["error_id"]) == 16
    assert waits.accounts == set()


async def test_so_many_wait_and_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_up, "MOST_WAITING", 2)
    waits = world.held_up()
    world.held = {A, B, C}
    for account in (A, B):
        waits.wait(asked((account, AccountId(9)))[1], frozenset({account}))
    together, items = asked((C, AccountId(9)))
    waits.wait(items, frozenset({C}))
    assert reasons(together) == [Reason.CONTENTION]
    assert len(waits.tasks) == 2
    assert waits.accounts == {A, B}
    # It is suspected all the same: the next batch looks before it waits for its lock.
    assert await waits.among(asked((C, AccountId(9)))[1]) == {C}
    await ended(waits)
    assert MOST_WAITING == 16


async def test_the_accounts_of_one_are_not_freed_by_the_end_of_another(world: World) -> None:
    waits = world.held_up()
    world.held = {A, B}
    waits.wait(asked((A, C))[1], frozenset({A}))
    [first] = waits.tasks
    waits.wait(asked((A, B))[1], frozenset({A, B}))
    [second] = set(waits.tasks) - {first}
    assert waits.accounts == {A, B}
    second.cancel()
    await asyncio.wait([second])
    await asyncio.sleep(0)
    assert waits.accounts == {A}
    await ended(waits)


async def test_only_what_was_held_before_is_looked_at_and_for_a_while(world: World) -> None:
    waits = world.held_up()
    _, items = asked((A, B), (B, C))
    assert await waits.among(items) == frozenset()
    assert world.looked == []

    world.held = {A}
    waits.wait(asked((A, B))[1], frozenset({A, AccountId(7)}))
    await ended(waits)
    world.looked.clear()
    assert await waits.among(items) == {A}
    assert world.looked == [{A}]
    assert await waits.among(asked((B, C))[1]) == frozenset()
    assert world.looked == [{A}]

    world.clock.at_s += SUSPECTED_FOR_S - 0.001
    assert await waits.among(items) == {A}
    world.clock.at_s += 0.001
    assert await waits.among(items) == frozenset()
    assert len(world.looked) == 2


async def test_what_is_found_free_is_no_longer_suspected(world: World) -> None:
    waits = world.held_up()
    world.held = {A, B}
    waits.wait(asked((A, B))[1], frozenset({A, B}))
    await ended(waits)
    world.held, world.looked = {B}, []
    _, items = asked((A, B))
    assert await waits.among(items) == {B}
    assert await waits.among(items) == {B}
    assert world.looked == [{A, B}, {B}]


async def test_who_waits_for_longer_than_the_account_is_suspected_is_posted_too(
    world: World,
) -> None:
    waits = world.held_up()
    together, items = asked((A, B))
    waits.wait(items, frozenset({A}))
    world.clock.at_s += SUSPECTED_FOR_S
    assert await waits.among(items) == frozenset()
    await ended(waits)
    assert isinstance(together.outcomes[0], Posted)


async def test_several_wait_side_by_side_and_are_told_apart(world: World) -> None:
    waits = world.held_up()
    world.held = {A, B}
    for account in (A, B):
        waits.wait(asked((account, C))[1], frozenset({account}))
    world.held.clear()
    await ended(waits)
    assert len(world.posted) == 2
    assert world.changes[-1] == set()
    assert len(world.changes) == 2
