"""How fresh answers are, from the write to the reply. Posts, so it comes after the comparisons."""

from __future__ import annotations

from datetime import timedelta

from paycore.domain.money import Currency
from paycore.domain.position import Position
from paycore.domain.transfers import Posted, TransferKind
from tests.integration.analytics import oracle, shown
from tests.integration.analytics.conftest import Scene
from tests.support.command_core import payment


async def deposit(scene: Scene) -> Posted:
    outside, inside = (
        next(
            one
            for one in scene.posting.accounts
            if one.external is external and one.currency == "EUR"
        )
        for external in (True, False)
    )
    command = payment(outside.id, inside.id, 1, kind=TransferKind.DEPOSIT, currency=Currency("EUR"))
    outcome = await scene.posting.core.one(command)
    assert isinstance(outcome, Posted), outcome
    return outcome


async def test_an_answer_includes_the_write_that_it_is_to_wait_for(scene: Scene) -> None:
    analyst = scene.callers["analyst"]
    for _ in range(3):
        position = (await deposit(scene)).position
        assert position is not None
        reply = await analyst.kinds(min_position=position.encode())
        assert shown.kinds(reply) == oracle.kinds(await oracle.ledger_rows(scene.dsn))
        assert reply.freshness.source == "elasticsearch"
        assert Position.decode(reply.freshness.position) >= position


async def test_latency_is_what_the_projector_measured(scene: Scene) -> None:
    position = (await deposit(scene)).position
    assert position is not None
    await scene.projected()
    # Everybody may know it: it tells of no account.
    for caller in scene.callers.values():
        reply = await caller.latencies(min_position=position.encode())
        [sink] = reply.sinks
        assert sink.sink == "elasticsearch"
        assert Position.decode(sink.position) >= position
        recent = sink.recent
        assert recent.count >= 1
        times = [one.ToTimedelta() for one in (recent.p50, recent.p95, recent.p99, recent.max)]
        assert times == sorted(times)
        assert times[0] >= timedelta(0)
        assert recent.window.ToTimedelta() == timedelta(minutes=5)
        assert sink.HasField("lag")
