"""A commit whose reply is cut off is resolved, never guessed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import asyncpg
import pytest

from command_service import transactions
from paycore.domain.errors import Reason
from paycore.domain.transfers import Posted, Refused
from tests.support.command_core import CommandCore, command_core, opening, payment, posted
from tests.support.ledger_checks import counts, violations
from tests.support.postgres_proxy import Cut, PostgresProxy


@pytest.fixture
async def distant(proxy: PostgresProxy, admin: asyncpg.Connection) -> AsyncIterator[CommandCore]:
    """A core whose way to the database goes through the proxy."""
    async with command_core(proxy.dsn) as core:
        yield core
        proxy.cut_never()
    assert await violations(admin) == []


@pytest.mark.parametrize("cut", list(Cut))
async def test_a_cut_commit_is_answered_with_the_truth(
    distant: CommandCore, proxy: PostgresProxy, admin: asyncpg.Connection, cut: Cut
) -> None:
    _, a, b = await distant.open(2)
    asked = payment(a, b, 10)
    before = await counts(admin)

    proxy.cut_next(cut)
    (outcome,) = posted([await distant.one(asked)])

    assert proxy.cuts == 1
    assert not outcome.replayed
    assert outcome.position is not None
    row = await admin.fetchrow(
        "SELECT journal_xid, journal_id FROM ledger.idempotency_keys WHERE key = $1", asked.key
    )
    assert row is not None
    assert tuple(row) == outcome.position[1:]
    after = await counts(admin)
    assert after["transfers"] - before["transfers"] == 1
    (again,) = posted([await distant.one(asked)])
    assert again.replayed
    assert again.transfer == outcome.transfer
    assert again.position == outcome.position


@pytest.mark.parametrize("cuts", [(Cut.BEFORE, Cut.AFTER), (Cut.BEFORE,) * 3, (Cut.AFTER,) * 2])
async def test_cuts_that_follow_each_other(
    distant: CommandCore, proxy: PostgresProxy, cuts: tuple[Cut, ...]
) -> None:
    _, a, b = await distant.open(2)
    proxy.cut_next(*cuts)
    outcomes = await asyncio.gather(*(distant.one(payment(a, b, 1)) for _ in range(5)))
    assert not [outcome for outcome in posted(outcomes) if outcome.replayed]


@pytest.mark.parametrize("cut", list(Cut))
async def test_an_opening_that_is_cut_is_made_once(
    distant: CommandCore, proxy: PostgresProxy, admin: asyncpg.Connection, cut: Cut
) -> None:
    before = await counts(admin)
    asked = opening()
    proxy.cut_next(cut)
    (first,) = await distant.open_accounts([asked])
    (again,) = await distant.open_accounts([asked])
    assert not first.replayed  # type: ignore[union-attr]
    assert again.replayed  # type: ignore[union-attr]
    assert first.account == again.account  # type: ignore[union-attr]
    after = await counts(admin)
    assert after["accounts"] - before["accounts"] == 1


@pytest.mark.parametrize("cut", list(Cut))
async def test_an_outcome_that_cannot_be_learnt_is_unavailable_and_not_guessed(
    distant: CommandCore, proxy: PostgresProxy, monkeypatch: pytest.MonkeyPatch, cut: Cut
) -> None:
    monkeypatch.setattr(transactions, "RESOLVE_WITHIN_S", 0.3)
    _, a, b = await distant.open(2)
    asked = payment(a, b, 10)
    proxy.cut_next(cut)
    waiting = asyncio.create_task(distant.one(asked))
    async with asyncio.timeout(60):
        while not proxy.cuts:
            await asyncio.sleep(0.001)
    proxy.refusing = True
    await proxy.cut()
    outcome = await waiting
    assert isinstance(outcome, Refused)
    assert outcome.error.reason is Reason.DATABASE_UNAVAILABLE
    assert outcome.error.retry_after_ms

    proxy.cut_never()
    settled = await distant.store.find_settled(
        asked.client, asked.key, distant.clock.monotonic_s() + 5
    )
    (again,) = posted([await distant.one(asked)])
    assert again.replayed == (settled is not None) == (cut is Cut.AFTER)


async def test_a_database_that_fails_at_the_question_leaves_the_outcome_unknown(
    distant: CommandCore,
    proxy: PostgresProxy,
    admin: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transactions, "RESOLVE_WITHIN_S", 0.5)
    _, a, b = await distant.open(2)
    asked = payment(a, b, 10)
    await admin.execute("REVOKE EXECUTE ON FUNCTION pg_xact_status(xid8) FROM PUBLIC")
    try:
        proxy.cut_next(Cut.AFTER)
        outcome = await distant.one(asked)
    finally:
        await admin.execute("GRANT EXECUTE ON FUNCTION pg_xact_status(xid8) TO PUBLIC")
    assert isinstance(outcome, Refused)
    assert outcome.error.reason is Reason.DATABASE_UNAVAILABLE
    assert posted([await distant.one(asked)])[0].replayed


async def test_a_database_out_of_reach_is_unavailable_and_writes_nothing(
    distant: CommandCore, proxy: PostgresProxy, admin: asyncpg.Connection
) -> None:
    _, a, b = await distant.open(2)
    before = await counts(admin)
    asked = payment(a, b, 10)
    proxy.refusing = True
    await proxy.cut()
    outcome = await distant.one(asked)
    assert isinstance(outcome, Refused)
    assert outcome.error.reason is Reason.DATABASE_UNAVAILABLE
    assert await counts(admin) == before
    proxy.cut_never()
    assert not posted([await distant.one(asked)])[0].replayed


async def test_commits_cut_at_random_lose_and_double_nothing(
    distant: CommandCore, proxy: PostgresProxy, admin: asyncpg.Connection, rng: random.Random
) -> None:
    _, *accounts = await distant.open(8)
    before = await counts(admin)
    proxy.cut_next(Cut.BEFORE, Cut.AFTER)
    proxy.cut_often(rng, 0.3)

    async def caller() -> list[Posted]:
        done = []
        for _ in range(8):
            one, two = rng.sample(accounts, 2)
            asked = payment(one, two, 1)
            for _ in range(20):
                outcome = await distant.one(asked)
                if isinstance(outcome, Posted):
                    done.append(outcome)
                    break
                assert isinstance(outcome, Refused)
                assert outcome.error.reason in (Reason.DATABASE_UNAVAILABLE, Reason.CONTENTION)
        return done

    answers = await asyncio.gather(*(caller() for _ in range(6)))
    proxy.cut_never()
    acknowledged = {done.transfer.id for answer in answers for done in answer}
    assert len(acknowledged) == 48
    assert proxy.cuts >= 2
    after = await counts(admin)
    assert after["transfers"] - before["transfers"] == 48
    written = {row["id"] for row in await admin.fetch("SELECT id FROM ledger.transfers")}
    assert acknowledged <= written
