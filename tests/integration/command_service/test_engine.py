"""Queue, batches and retries of the posting engine, on PostgreSQL.

A batch is held up where a real one would be: another session holds the row lock of its account.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Sequence

import asyncpg
import pytest

from command_service.posting import metrics
from command_service.posting.engine import PostingEngine
from command_service.posting.pacing import EngineLimits
from command_service.posting.store import (
    ConflictError,
    Decide,
    LedgerStore,
    RejectedError,
    Wants,
    no_past,
)
from paycore.domain.accounts import Account, AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.plan import Key, ParentState, StoredOutcome
from paycore.domain.transfers import (
    Command,
    Declined,
    Outcome,
    Posted,
    Refused,
    TransferCommand,
    TransferId,
    accounts_of,
)
from tests.support.command_core import CommandCore, command_core, payment, posted
from tests.support.databases import OwnDatabase, with_setting
from tests.support.ledger_checks import counts, violations
from tests.support.locks import locked, until_waiting


class Watched:
    """Passes everything to a real store, and notes which batches were under way together."""

    def __init__(self, store: LedgerStore) -> None:
        self._store = store
        self._under_way: list[set[int]] = []
        self.sizes: list[int] = []
        self.overlaps: list[set[int]] = []
        self.most_at_once = 0

    async def post(
        self, commands: Sequence[Command], journal_id: int, decide: Decide, wants: Wants = no_past
    ) -> list[Outcome]:
        mine: set[int] = {side for command in commands for side in accounts_of(command)}
        self.overlaps += [mine & other for other in self._under_way if mine & other]
        self._under_way.append(set(mine))
        self.most_at_once = max(self.most_at_once, len(self._under_way))
        self.sizes.append(len(commands))
        try:
            # Long enough for others to start beside it.
            await asyncio.sleep(0.002)
            return await self._store.post(commands, journal_id, decide, wants)
        finally:
            self._under_way.remove(set(mine))

    async def find_held(self, accounts: Collection[AccountId]) -> frozenset[AccountId]:
        return await self._store.find_held(accounts)

    async def find(self, client: str, key: str) -> StoredOutcome | None:
        return await self._store.find(client, key)

    async def find_payers(self, asked: Sequence[tuple[Key, AccountId]]) -> dict[int, Account]:
        return await self._store.find_payers(asked)

    async def find_settled(self, client: str, key: str, give_up_s: float) -> StoredOutcome | None:
        return await self._store.find_settled(client, key, give_up_s)

    async def find_parents(self, ids: Sequence[TransferId]) -> dict[TransferId, ParentState]:
        return await self._store.find_parents(ids)

    async def find_expired_holds(self, now_us: int, most: int) -> list[TransferId]:
        return await self._store.find_expired_holds(now_us, most)

    async def find_by_reference(
        self, client: str, reference: str, most: int
    ) -> list[StoredOutcome]:
        return await self._store.find_by_reference(client, reference, most)


class TestBatches:
    async def test_commands_of_one_turn_share_one_transaction(
        self, core: CommandCore, admin: asyncpg.Connection
    ) -> None:
        _, *accounts = await core.open(20, balance=0)
        before = await counts(admin)
        pairs = zip(accounts[::2], accounts[1::2], strict=True)
        await asyncio.gather(*(core.one(payment(one, two, 1)) for one, two in pairs))
        after = await counts(admin)
        assert after["declines"] - before["declines"] == 10
        assert after["journal"] - before["journal"] == 1

    async def test_batches_under_way_touch_disjoint_accounts(
        self, database: OwnDatabase, rng: random.Random
    ) -> None:
        watched: list[Watched] = []

        def watch(store: LedgerStore) -> LedgerStore:
            watched.append(Watched(store))
            return watched[0]

        limits = EngineLimits(batch=4, in_flight=4, overlap=4)
        async with command_core(database.dsn("command"), limits=limits, around=watch) as core:
            _, *accounts = await core.open(100)

            async def caller() -> None:
                for _ in range(20):
                    one, two = rng.sample(accounts, 2)
                    await core.one(payment(one, two, rng.randint(1, 5)))
                    await asyncio.sleep(rng.random() / 500)

            await asyncio.gather(*(caller() for _ in range(30)))
        (seen,) = watched
        assert seen.overlaps == []
        assert seen.most_at_once > 1
        assert max(seen.sizes) <= 4

    async def test_a_waiting_command_is_not_starved_and_others_pass(
        self, core: CommandCore, admin: asyncpg.Connection, database: OwnDatabase
    ) -> None:
        _, a, b, c, d, e, f = await core.open(6)
        async with locked(admin, a):
            held_up = asyncio.create_task(core.one(payment(a, b, 1)))
            await until_waiting(database)
            waiting = asyncio.create_task(core.one(payment(b, c, 1)))
            await asyncio.sleep(0)
            behind = asyncio.create_task(core.one(payment(c, d, 1)))
            await asyncio.sleep(0)
            for _ in range(3):
                posted([await core.one(payment(e, f, 1))])
            # It could run now, but that would let it overtake the one that waits for c.
            assert not waiting.done()
            assert not behind.done()
        first, second, third = posted(await asyncio.gather(held_up, waiting, behind))
        assert first.transfer.id < second.transfer.id <= third.transfer.id
        assert second.transfer.credit_version is not None
        assert second.transfer.credit_version < third.transfer.debit_version

    async def test_a_payment_right_behind_a_batch_that_waits_is_not_held_up(
        self, database: OwnDatabase, admin: asyncpg.Connection
    ) -> None:
        # Without gathering the two are never in one batch.
        limits = EngineLimits(gather_s=0.0)
        async with command_core(database.dsn("command"), limits=limits) as core:
            _, a, b, c, d = await core.open(4)
            async with locked(admin, a):
                held_up = asyncio.create_task(core.one(payment(a, b, 1)))
                await asyncio.sleep(0.002)
                # Before the one in front gives up waiting for the row.
                async with asyncio.timeout(4):
                    posted([await core.one(payment(c, d, 1))])
                assert not held_up.done()
            posted([await held_up])

    async def test_a_crowd_that_comes_back_one_by_one_shares_a_batch(
        self, database: OwnDatabase
    ) -> None:
        watched: list[Watched] = []

        def watch(store: LedgerStore) -> LedgerStore:
            watched.append(Watched(store))
            return watched[0]

        limits = EngineLimits(gather=1e9, gather_s=60.0)
        async with command_core(database.dsn("command"), limits=limits, around=watch) as core:
            _, *accounts = await core.open(6)
            (seen,) = watched
            seen.sizes.clear()
            pairs = list(zip(accounts[::2], accounts[1::2], strict=True))
            async with asyncio.timeout(40):
                for _ in range(2):
                    coming = []
                    for payer, payee in pairs * 2:
                        coming.append(asyncio.create_task(core.one(payment(payer, payee, 1))))
                        await asyncio.sleep(0.002)
                    posted(await asyncio.gather(*coming))
            assert seen.sizes == [6, 6]

    async def test_a_stopped_engine_answers_what_it_took_and_takes_no_more(
        self, core: CommandCore
    ) -> None:
        _, a, b = await core.open(2)
        taken = [asyncio.create_task(core.one(payment(a, b, 1))) for _ in range(50)]
        await asyncio.sleep(0)
        await core.engine.stop()
        posted(await asyncio.gather(*taken))
        with pytest.raises(PaycoreError) as refusal:
            await core.one(payment(a, b, 1))
        assert refusal.value.reason is Reason.SHUTTING_DOWN

    async def test_a_caller_that_leaves_takes_nothing_back(
        self, core: CommandCore, admin: asyncpg.Connection, database: OwnDatabase
    ) -> None:
        _, a, b = await core.open(2)
        asked = payment(a, b, 7)
        async with locked(admin, a):
            leaving = asyncio.create_task(core.one(asked))
            await until_waiting(database)
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
        again = await core.one(asked)
        assert isinstance(again, Posted)
        assert again.replayed


class TestBounds:
    async def test_a_full_queue_refuses_and_takes_none(
        self, database: OwnDatabase, admin: asyncpg.Connection
    ) -> None:
        limits = EngineLimits(queue=6, in_flight=1)
        async with command_core(database.dsn("command"), limits=limits) as core:
            _, a, b = await core.open(2)
            async with locked(admin, a):
                held_up = asyncio.create_task(core.one(payment(a, b, 1)))
                await until_waiting(database)
                waiting = [asyncio.create_task(core.one(payment(a, b, 1))) for _ in range(2)]
                await asyncio.sleep(0)
                with pytest.raises(PaycoreError) as refusal:
                    await core.submit(*(payment(a, b, 100) for _ in range(3)))
                assert refusal.value.reason is Reason.OVERLOADED
                assert refusal.value.metadata == {"limit": "6"}
                assert refusal.value.retry_after_ms
                waiting.append(asyncio.create_task(core.one(payment(a, b, 1))))
            outcomes = posted(await asyncio.gather(held_up, *waiting))
        assert outcomes[-1].transfer.debit_balance_after == 996

    async def test_a_flood_of_one_client_neither_shuts_out_nor_delays_another(
        self, database: OwnDatabase, admin: asyncpg.Connection
    ) -> None:
        # By turns alone, without a place beside the full batches.
        limits = EngineLimits(queue=1_000, batch=10, in_flight=1, beside=0)
        async with command_core(database.dsn("command"), limits=limits) as core:
            _, a, b, c, d = await core.open(4)
            async with locked(admin, a):
                held_up = asyncio.create_task(core.one(payment(a, b, 1)))
                await until_waiting(database)
                flood = [
                    asyncio.create_task(core.one(payment(a, b, 1, client="flood")))
                    for _ in range(500)
                ]
                await asyncio.sleep(0)
                with pytest.raises(PaycoreError) as refusal:
                    await core.one(payment(a, b, 1, client="flood"))
                assert refusal.value.reason is Reason.OVERLOADED
                light = asyncio.create_task(core.one(payment(c, d, 1)))
                await asyncio.sleep(0)
            posted([await held_up, await light])
            assert sum(one.done() for one in flood) < 100
            await asyncio.gather(*flood)

    async def test_a_deadline_that_passes_in_the_queue_posts_nothing(
        self, core: CommandCore, admin: asyncpg.Connection, database: OwnDatabase
    ) -> None:
        _, a, b = await core.open(2)
        late, in_time = payment(a, b, 100), payment(a, b, 1)
        async with locked(admin, a):
            held_up = asyncio.create_task(core.one(payment(a, b, 1)))
            await until_waiting(database)
            tasks = [
                asyncio.create_task(core.one(late, within_s=0.05)),
                asyncio.create_task(core.one(in_time)),
            ]
            await asyncio.sleep(0.1)
        dropped, done = await asyncio.gather(*tasks)
        posted([await held_up, done])
        assert isinstance(dropped, Refused)
        assert dropped.error.reason is Reason.DEADLINE_EXCEEDED
        found = await core.store.find_settled(late.client, late.key, core.clock.monotonic_s() + 5)
        assert found is None

    async def test_a_retry_after_a_passed_deadline_is_decided_afresh(
        self, core: CommandCore
    ) -> None:
        _, a, b = await core.open(2)
        asked = payment(a, b, 100)
        dropped = await core.one(asked, within_s=-1)
        assert isinstance(dropped, Refused)
        done = await core.one(asked)
        assert not posted([done])[0].replayed


class TestConflicts:
    async def test_a_key_that_another_process_used_meanwhile_is_found(
        self, core: CommandCore, admin: asyncpg.Connection, database: OwnDatabase
    ) -> None:
        _, a, b, c, d = await core.open(4)
        first = payment(a, b, 10)
        async with command_core(database.dsn("command")) as other:
            async with locked(admin, c):
                second = asyncio.create_task(other.one(payment(c, d, 20, key=first.key)))
                await until_waiting(database)
                posted([await core.one(first)])
            late = await second
        assert isinstance(late, Refused)
        assert late.error.reason is Reason.IDEMPOTENCY_KEY_REUSED

    @pytest.mark.parametrize("commits", [True, False])
    async def test_a_key_being_written_elsewhere_is_waited_for(
        self,
        core: CommandCore,
        admin: asyncpg.Connection,
        database: OwnDatabase,
        commits: bool,
    ) -> None:
        outside, a, b = await core.open(2)
        (first,) = posted([await core.one(payment(a, b, 5))])
        asked = payment(a, b, 10)
        writer = admin.transaction()
        await writer.start()
        await admin.execute(
            "INSERT INTO ledger.idempotency_keys"
            " (client, key, journal_id, outcome_id, outcome, request_hash)"
            " VALUES ($1, $2, 1, $3, 'ACCOUNT', $4)",
            asked.client,
            asked.key,
            outside,
            asked.request_hash,
        )
        mine = asyncio.create_task(core.one(asked))
        await until_waiting(database)
        await (writer.commit() if commits else writer.rollback())
        outcome = await mine
        if commits:
            assert isinstance(outcome, Refused)
            assert outcome.error.reason is Reason.IDEMPOTENCY_KEY_REUSED
            # A key without its account: made up by this test, so nothing else may be left of it.
            await admin.execute("ALTER TABLE ledger.idempotency_keys DISABLE TRIGGER ALL")
            await admin.execute("DELETE FROM ledger.idempotency_keys WHERE key = $1", asked.key)
        else:
            assert posted([outcome])[0].transfer.debit_version == first.transfer.debit_version + 1

    async def test_a_batch_decides_once_from_what_the_holder_of_the_lock_leaves(
        self, database: OwnDatabase, admin: asyncpg.Connection
    ) -> None:
        watched: list[Watched] = []

        def watch(store: LedgerStore) -> LedgerStore:
            watched.append(Watched(store))
            return watched[0]

        async with command_core(database.dsn("command"), around=watch) as core:
            _, a, b = await core.open(2)
            watched[0].sizes.clear()
            async with admin.transaction():
                await admin.execute(
                    "UPDATE ledger.accounts SET status = 'FROZEN', revision = revision + 1"
                    " WHERE id = $1",
                    a,
                )
                waiting = asyncio.create_task(core.one(payment(a, b, 10)))
                await until_waiting(database)
            outcome = await waiting
        assert isinstance(outcome, Declined)
        assert outcome.decline.reason == Reason.ACCOUNT_FROZEN
        # Decided before it had the lock, the tables would refuse it, and it would be tried again.
        assert watched[0].sizes == [1]

    async def test_a_copy_that_waited_for_the_lock_is_answered_from_the_first(
        self, core: CommandCore, admin: asyncpg.Connection, database: OwnDatabase
    ) -> None:
        _, a, b = await core.open(2)
        (before,) = posted([await core.one(payment(a, b, 1))])
        # Decided anew after the first, the other would be refused for the version.
        asked = payment(a, b, 10, expected_debit_version=before.transfer.debit_version)
        async with command_core(database.dsn("command")) as other:
            async with locked(admin, a):
                copies = [asyncio.create_task(one.one(asked)) for one in (core, other)]
                await until_waiting(database, sessions=2)
            both = posted(await asyncio.gather(*copies))
        assert sorted(copy.replayed for copy in both) == [False, True]
        assert both[0].transfer == both[1].transfer

    async def test_accounts_are_locked_in_order_of_id_wherever_their_rows_lie(
        self, database: OwnDatabase, admin: asyncpg.Connection
    ) -> None:
        # An index, by which the role's settings let them be found, would give them in order by
        # itself.
        dsn = database.dsn("command")
        for setting in ("enable_seqscan=on", "enable_indexscan=off", "enable_bitmapscan=off"):
            dsn = with_setting(dsn, setting)
        async with command_core(dsn) as core:
            _, *accounts = await core.open(2)
            low, high = sorted(accounts)
            # The row of the lower id comes to lie behind the other's.
            await admin.execute(
                "UPDATE ledger.accounts SET revision = revision + 1 WHERE id = $1", low
            )
            async with locked(admin, low):
                waiting = asyncio.create_task(core.one(payment(high, low, 10)))
                await until_waiting(database)
                free = await admin.fetchval(
                    "SELECT id FROM ledger.accounts WHERE id = $1 FOR UPDATE SKIP LOCKED", high
                )
            posted([await waiting])
        assert free == high

    async def test_a_deadlock_is_tried_again(
        self, core: CommandCore, admin: asyncpg.Connection, database: OwnDatabase
    ) -> None:
        _, a, b = await core.open(2)
        low, high = sorted((a, b))
        # The other session never gives way, so it is the batch that the server ends.
        await admin.execute("SET deadlock_timeout = '1min'")
        blocker = admin.transaction()
        await blocker.start()
        await admin.execute("SELECT FROM ledger.accounts WHERE id = $1 FOR UPDATE", high)
        mine = asyncio.create_task(core.one(payment(a, b, 10)))
        await until_waiting(database)
        await admin.execute("SELECT FROM ledger.accounts WHERE id = $1 FOR UPDATE", low)
        assert not mine.done()
        await blocker.rollback()
        assert not posted([await mine])[0].replayed

    async def test_contention_beyond_the_retries_is_said_and_nothing_written(
        self, database: OwnDatabase, admin: asyncpg.Connection
    ) -> None:
        async with command_core(with_setting(database.dsn("command"), "lock_timeout=20")) as core:
            _, a, b = await core.open(2)
            before = await counts(admin)
            async with locked(admin, a):
                outcome = await core.one(payment(a, b, 10))
            assert isinstance(outcome, Refused)
            assert outcome.error.reason is Reason.CONTENTION
            assert outcome.error.retry_after_ms
            assert await counts(admin) == before
            posted([await core.one(payment(a, b, 10))])


class TestRejectedRows:
    async def test_only_the_offender_fails(
        self, core: CommandCore, admin: asyncpg.Connection
    ) -> None:
        _, *accounts = await core.open(4)
        a, b, c, d = accounts
        # A rule of the tables that the planner does not know.
        await admin.execute("ALTER TABLE ledger.transfers ADD CONSTRAINT trap CHECK (amount <> 13)")
        amounts = [1, 2, 13, 3, 4, 5, 13, 6]
        commands = [payment(a, b, n) if n % 2 else payment(c, d, n) for n in amounts]
        before = await counts(admin)
        outcomes = await core.submit(*commands)
        for amount, outcome in zip(amounts, outcomes, strict=True):
            if amount == 13:
                assert isinstance(outcome, Refused)
                assert outcome.error.reason is Reason.INTERNAL
                assert "trap" not in str(outcome.error)
                assert len(outcome.error.metadata["error_id"]) == 16
            else:
                assert isinstance(outcome, Posted)
        after = await counts(admin)
        assert after["transfers"] - before["transfers"] == 6
        assert after["idempotency_keys"] - before["idempotency_keys"] == 6

    async def test_one_that_meets_a_conflict_each_time_holds_up_no_others(
        self, core: CommandCore, admin: asyncpg.Connection
    ) -> None:
        _, a, b, c, d = await core.open(4)
        await admin.execute(
            "CREATE FUNCTION public.conflict() RETURNS trigger LANGUAGE plpgsql AS $$"
            " BEGIN RAISE EXCEPTION 'again' USING ERRCODE = 'serialization_failure'; END $$"
        )
        await admin.execute(
            "CREATE TRIGGER conflict BEFORE INSERT ON ledger.transfers_first FOR EACH ROW"
            " WHEN (NEW.amount = 13) EXECUTE FUNCTION public.conflict()"
        )
        outcomes = await core.submit(
            *(payment(a, b, 1), payment(c, d, 13), payment(c, d, 2), payment(b, a, 3))
        )
        assert [isinstance(one, Posted) for one in outcomes] == [True, False, True, True]
        stuck = outcomes[1]
        assert isinstance(stuck, Refused)
        assert stuck.error.reason is Reason.CONTENTION

    async def test_a_rejected_transaction_leaves_nothing(
        self, core: CommandCore, admin: asyncpg.Connection
    ) -> None:
        _, a, b = await core.open(2)
        await admin.execute("ALTER TABLE ledger.declines ADD CONSTRAINT trap CHECK (amount < 0)")
        before = await counts(admin)
        # The transfer's row is written before the decline's is refused.
        with pytest.raises(RejectedError):
            await _post_as_one(core, payment(a, b, 10), payment(a, b, 99_999))
        assert await counts(admin) == before

    async def test_a_plan_made_from_another_version_writes_nothing(
        self, core: CommandCore, admin: asyncpg.Connection
    ) -> None:
        _, a, b = await core.open(2)
        before = await counts(admin)
        for stale in (
            {"debit_version": 99},
            {"credit_version": 99},
            {"debit_balance_after": 1},
            {"credit_balance_after": 1},
            {"debit_held_after": 1},
            {"created_at_us": 1},
            {"amount": 11},
        ):
            with pytest.raises(ConflictError):
                await _post_as_one(core, payment(a, b, 10), stale=stale)
        assert await counts(admin) == before


async def _post_as_one(
    core: CommandCore, *commands: TransferCommand, stale: dict[str, int] | None = None
) -> list[Outcome]:
    """One transaction through the store itself, deciding as the engine does."""
    from command_service.admission.rules import RulesCache
    from paycore.domain.plan import BatchState, Plan
    from paycore.domain.planning import plan_batch

    rules = RulesCache(core.pool, core.clock)
    await rules.start()
    journal_id, *ids = await core.ids.take(len(commands) + 1)

    def decide(state: BatchState) -> Plan:
        plan = plan_batch(state, commands, rules.current(), core.clock.now_us(), ids)
        if stale:
            plan.transfers[0] = plan.transfers[0]._replace(**stale)  # type: ignore[arg-type]
        return plan

    try:
        return await core.store.post(commands, journal_id, decide)
    finally:
        await rules.stop()


class TestDeadlines:
    async def test_a_payment_that_got_its_lock_too_late_is_not_posted(
        self, core: CommandCore, admin: asyncpg.Connection, database: OwnDatabase
    ) -> None:
        _, a, b, c, d = await core.open(4)
        before = await counts(admin)
        async with locked(admin, a):
            late = asyncio.create_task(core.one(payment(a, b, 1), within_s=0.3))
            # In the same batch, and in time.
            patient = asyncio.create_task(core.one(payment(c, d, 1)))
            await until_waiting(database)
            await asyncio.sleep(0.4)
        outcome = await late
        assert isinstance(outcome, Refused)
        assert outcome.error.reason is Reason.DEADLINE_EXCEEDED
        posted([await patient])
        after = await counts(admin)
        assert after["transfers"] - before["transfers"] == 1

    async def test_who_comes_after_many_that_gave_up_is_served(
        self, database: OwnDatabase, admin: asyncpg.Connection
    ) -> None:
        limits = EngineLimits(in_flight=1, scan=10)
        async with command_core(database.dsn("command"), limits=limits) as core:
            _, a, b, c, d = await core.open(4)
            async with locked(admin, a):
                held_up = asyncio.create_task(core.one(payment(a, b, 1)))
                await until_waiting(database)
                gave_up = [
                    asyncio.create_task(core.one(payment(c, d, 1), within_s=0.05))
                    for _ in range(100)
                ]
                await asyncio.sleep(0.1)
                alive = asyncio.create_task(core.one(payment(c, d, 1)))
                await asyncio.sleep(0.01)
            posted([await held_up])
            async with asyncio.timeout(30):
                posted([await alive])
            for outcome in await asyncio.gather(*gave_up):
                assert isinstance(outcome, Refused)
                assert outcome.error.reason is Reason.DEADLINE_EXCEEDED


class TestMetrics:
    async def test_every_outcome_is_counted_by_its_reason(self, core: CommandCore) -> None:
        _, a, b = await core.open(2, balance=10)
        reasons = ("POSTED", "INSUFFICIENT_FUNDS", "DEADLINE_EXCEEDED", "SAME_ACCOUNT")

        def counted() -> list[float]:
            return [metrics.OUTCOMES.labels(reason)._value.get() for reason in reasons]

        before = counted()
        await core.one(payment(a, b, 1))
        await core.submit(payment(a, b, 99), payment(a, a, 1), payment(b, a, 2))
        await core.one(payment(a, b, 1), within_s=-1)
        assert [now - then for now, then in zip(counted(), before, strict=True)] == [2, 1, 1, 1]


class TestSeveralProcesses:
    async def test_two_processes_on_the_same_accounts_lose_nothing(
        self, database: OwnDatabase, admin: asyncpg.Connection, rng: random.Random
    ) -> None:
        dsn = database.dsn("command")
        async with command_core(dsn) as one, command_core(dsn) as two:
            _, *accounts = await one.open(6, balance=50)

            async def caller(engine: PostingEngine) -> list[Outcome]:
                outcomes: list[Outcome] = []
                for _ in range(15):
                    debit, credit = rng.sample(accounts, 2)
                    outcomes += await engine.submit(
                        [payment(debit, credit, rng.randint(1, 40))],
                        one.clock.monotonic_s() + 60,
                    )
                return outcomes

            engines = [one.engine, two.engine] * 6
            answers = await asyncio.gather(*(caller(engine) for engine in engines))
        everything = [outcome for outcomes in answers for outcome in outcomes]
        assert not [outcome for outcome in everything if isinstance(outcome, Refused)]
        assert await violations(admin) == []
        transfers = await admin.fetchval(
            "SELECT count(*) FROM ledger.transfers WHERE kind = 'TRANSFER'"
        )
        assert transfers == sum(isinstance(outcome, Posted) for outcome in everything)

    async def test_a_hundred_copies_over_two_processes_have_one_effect(
        self, database: OwnDatabase, admin: asyncpg.Connection
    ) -> None:
        dsn = database.dsn("command")
        async with command_core(dsn) as one, command_core(dsn) as two:
            _, a, b = await one.open(2)
            asked = payment(a, b, 10)
            copies = posted(
                await asyncio.gather(*((one, two)[n % 2].one(asked) for n in range(100)))
            )
        assert sum(not copy.replayed for copy in copies) == 1
        assert len({copy.transfer for copy in copies}) == 1
        assert len({copy.position for copy in copies}) == 1
        assert await violations(admin) == []
        assert await admin.fetchval("SELECT balance FROM ledger.accounts WHERE id = $1", a) == 990
