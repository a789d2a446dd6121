"""One process of the command service: its parts, put together, started and stopped in order."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from functools import partial

import structlog

from command_service.accounts.acting import Actors
from command_service.accounts.identifiers import from_primary
from command_service.accounts.ledger import AccountLedger
from command_service.admission.admission import Admission
from command_service.admission.limits import LimitCache
from command_service.admission.payers import Payers
from command_service.admission.risk.opening import open_judge
from command_service.admission.rules import RulesCache
from command_service.admission.signer import SignerClient
from command_service.admission.signer_link import RECONNECT
from command_service.admission.step_up import StepUpAdmission
from command_service.admission.touches import ForgetJob, PostgresTouches
from command_service.admission.velocity import Velocity
from command_service.personal.erasure import Erasure
from command_service.personal.owners import Owners
from command_service.personal.posting import PersonalPosting
from command_service.personal.vault import Vault
from command_service.policy.ledger import PolicyLedger
from command_service.posting.engine import PostingEngine
from command_service.posting.expiry import ExpiryJob
from command_service.posting.pacing import EngineLimits
from command_service.posting.partition_watch import PartitionWatch
from command_service.posting.postgres import PostgresLedger
from command_service.refusals import Refusals
from command_service.servicers.account_requests import AccountRequests
from command_service.servicers.accounts import AccountServicer
from command_service.servicers.children import ChildServicer
from command_service.servicers.fields import MAX_BATCH
from command_service.servicers.groups import GroupServicer
from command_service.servicers.intake import TransferIntake
from command_service.servicers.limit_requests import LimitRequests
from command_service.servicers.limits import LimitServicer
from command_service.servicers.personal_data import PersonalDataServicer
from command_service.servicers.policy import PolicyServicer
from command_service.servicers.policy_requests import PolicyRequests
from command_service.servicers.risk_rule_requests import RiskRuleRequests
from command_service.servicers.risk_rules import RiskRuleServicer
from command_service.servicers.stream import StreamServicer
from command_service.servicers.stretches import Stretches
from command_service.servicers.transfers import TransferServicer
from command_service.servicers.webhook_requests import WebhookRequests
from command_service.servicers.webhooks import WebhookServicer
from command_service.settings import CommandSettings
from command_service.transactions import Transactions
from command_service.webhooks.ledger import WebhookLedger
from command_service.webhooks.secrets import Secrets
from paycore.domain.grants import GrantAction
from paycore.domain.limits import RateLimit
from paycore.runtime import metrics
from paycore.runtime.access import AccessTable
from paycore.runtime.channel import open_channel
from paycore.runtime.clock import SystemClock
from paycore.runtime.data_keys import DataKeys
from paycore.runtime.database import close_pool, open_pool
from paycore.runtime.event_sinks import ServicesSink
from paycore.runtime.identifiers import Identifiers
from paycore.runtime.limits.calls import CallLimits
from paycore.runtime.limits.shared import SharedLimiter
from paycore.runtime.limits.table import LimitTable
from paycore.runtime.schema import until_schema_fits
from paycore.runtime.security_events import SecurityEvents
from paycore.runtime.server import Server
from paycore.runtime.settings import split_address
from paycore.runtime.snowflake import IdSource
from paycore.runtime.tls import TlsFiles
from paycore.runtime.traces import Tracer
from paycore.runtime.untold import in_background
from paycore.v1 import (
    account_service_pb2,
    personal_data_service_pb2,
    policy_service_pb2,
    transfer_service_pb2,
    webhook_service_pb2,
)

OTHER_CONNECTIONS = 4
"""Connections beside those of the batches, in a pool apart so that neither waits for the other:
reads, look-ups, accounts, rules."""

LOCK_TIMEOUT_MS = 1_000
"""How long a batch waits for the rows of its accounts, in milliseconds: others commit in a few, and
who keeps them longer is stopped or gone."""

ORPHAN_POLL_S = 0.5
"""How often a worker looks whether its fleet is still there, in seconds."""

CALLS_SHARE = 0.7
"""Part of the time to shut down in which calls under way may end; the rest is for batches."""

_TRANSFERS = transfer_service_pb2.DESCRIPTOR.services_by_name["TransferService"]
_ACCOUNTS = account_service_pb2.DESCRIPTOR.services_by_name["AccountService"]

log = structlog.get_logger()


async def serve(settings: CommandSettings, worker: int, stop: asyncio.Event) -> None:
    """Serve until `stop` is set, then drain: whatever was taken in is answered."""
    clock = SystemClock()
    secret = settings.hash_key()
    async with AsyncExitStack() as stack:
        metrics.serve(_metrics_address(settings, worker))
        dsn, application = settings.postgres_dsn.get_secret_value(), f"paycore-command-{worker}"
        if not await until_schema_fits(settings, application, stop):
            return
        channel = open_channel(
            settings.signing_target, TlsFiles.of(settings), RECONNECT, service="signing"
        )
        stack.push_async_callback(channel.close, None)
        keys = DataKeys(channel, clock)
        # Ends before the channel does: the last window is sealed too.
        tracer = Tracer(settings.trail_key(), keys)
        actors = Actors(tracer, clock)
        sink = ServicesSink(dsn, f"{application}-events", tracer)
        events = SecurityEvents(sink, clock, settings.events_window_s)
        events.start()
        stack.push_async_callback(events.stop)
        refusals = Refusals(events)
        pool = await open_pool(dsn, size=OTHER_CONNECTIONS, application=application)
        stack.push_async_callback(close_pool, pool)
        bounds = EngineLimits(
            queue=settings.queue_limit,
            batch=settings.batch_limit,
            in_flight=settings.batches_in_flight,
        )
        posting_pool = await open_pool(
            dsn,
            size=bounds.in_flight + bounds.beside,
            # A payment must not wait for a connection to be opened.
            ready=bounds.in_flight + bounds.beside,
            application=f"{application}-posting",
            lock_timeout_ms=LOCK_TIMEOUT_MS,
        )
        stack.push_async_callback(close_pool, posting_pool)
        transactions, posting = Transactions(pool, clock), Transactions(posting_pool, clock)
        await transactions.start()
        await posting.start()
        ids = IdSource(dsn, clock, f"{application}-ids")
        await ids.start()
        stack.push_async_callback(ids.stop)
        rules = RulesCache(pool, clock)
        await rules.start()
        stack.push_async_callback(rules.stop)
        clients, methods = AccessTable.load(settings.access_file).methods, _limited_methods()
        configured = _configured_limits(settings, clients, methods)
        limits = LimitCache(pool, clock, configured)
        await limits.start()
        stack.push_async_callback(limits.stop)
        limiter = SharedLimiter(settings.redis_url.get_secret_value(), clock)
        await limiter.start()
        stack.push_async_callback(limiter.stop)
        call_limits = CallLimits(
            limits.table,
            limiter,
            secret,
            lambda client: rules.current().grants.everywhere(client, GrantAction.ACT_FOR_USERS),
        )
        touches = PostgresTouches(pool)
        velocity = Velocity(limits.table, touches, secret)
        signer = SignerClient(channel, clock)
        await signer.start()
        stack.push_async_callback(signer.stop)
        store = PostgresLedger(pool, posting, clock)
        accounts = AccountLedger(pool, transactions, rules.current, ids, clock, actors)
        policy = PolicyLedger(
            pool,
            transactions,
            ids,
            clock,
            actors,
            lambda: asyncio.gather(rules.refresh(), limits.refresh()),
        )
        webhooks = WebhookLedger(
            pool, transactions, rules.current, accounts, Secrets(keys), ids, clock, actors
        )
        identifiers = Identifiers(from_primary(pool))
        judge = await open_judge(settings, f"{application}-risk", clock, stack)
        ended = None if judge is None else judge.ended
        engine = PostingEngine(store, rules.current, ids, clock, bounds, ended)
        admission = Admission(
            Payers(store, accounts, rules.current),
            StepUpAdmission(signer, events),
            rules.current,
            judge,
            velocity,
        )
        stretches = Stretches()
        vault = Vault(keys, Owners(accounts), store, clock, ended)
        personal = PersonalPosting(engine, vault)
        server = Server(settings, limiter=call_limits, clock=clock, events=events)
        server.add(
            _TRANSFERS,
            [
                TransferServicer(
                    personal,
                    vault,
                    store,
                    accounts,
                    admission,
                    identifiers,
                    rules.current,
                    secret,
                    stretches,
                    partial(call_limits.exceeding, f"{_TRANSFERS.full_name}/SubmitTransfers"),
                    refusals,
                ),
                GroupServicer(personal, admission, identifiers, secret, stretches, refusals),
                ChildServicer(personal, store, admission, secret),
                StreamServicer(
                    engine,
                    vault,
                    TransferIntake(
                        identifiers,
                        admission,
                        secret,
                        stretches,
                        partial(call_limits.exceeding, f"{_TRANSFERS.full_name}/StreamTransfers"),
                    ),
                    clock,
                    refusals=refusals,
                ),
            ],
            {
                "SubmitTransfers": lambda request: _cost(len(request.transfers)),
                "SubmitTransferGroup": lambda request: _cost(len(request.transfers)),
                "StreamTransfers": lambda request: _cost(len(request.transfers)),
            },
        )
        server.add(
            _ACCOUNTS,
            [
                AccountServicer(
                    accounts,
                    identifiers,
                    AccountRequests(rules.current, secret),
                    velocity,
                    partial(call_limits.exceeding, f"{_ACCOUNTS.full_name}/CreateAccounts"),
                    refusals,
                )
            ],
            {"CreateAccounts": lambda request: _cost(len(request.accounts))},
        )
        server.add(
            personal_data_service_pb2.DESCRIPTOR.services_by_name["PersonalDataService"],
            [
                PersonalDataServicer(
                    Erasure(pool, transactions, keys, ids, clock, actors), admission, rules.current
                )
            ],
        )
        server.add(
            policy_service_pb2.DESCRIPTOR.services_by_name["PolicyService"],
            [
                PolicyServicer(policy, PolicyRequests(rules.current, secret), secret),
                LimitServicer(
                    policy,
                    configured,
                    LimitRequests(rules.current, secret, clients, methods),
                    secret,
                ),
                RiskRuleServicer(policy, RiskRuleRequests(rules.current, secret)),
            ],
        )
        server.add(
            webhook_service_pb2.DESCRIPTOR.services_by_name["WebhookService"],
            [
                WebhookServicer(
                    webhooks,
                    WebhookRequests(rules.current, secret, http=settings.webhook_http),
                    secret,
                )
            ],
        )
        await server.start()
        expiry = in_background(ExpiryJob(engine, store, clock).run(), "hold-expiry")
        watch = in_background(PartitionWatch(pool, clock).run(), "partition-watch")
        forgetting = in_background(
            ForgetJob(touches, lambda: limits.table().longest_window_s(), clock).run(),
            "forget-touches",
        )
        await server.set_serving(True)
        log.info("serving", listen=settings.listen, worker=worker)
        await stop.wait()
        log.info("draining", worker=worker)
        expiry.cancel()
        watch.cancel()
        forgetting.cancel()
        await _drain(server, engine, settings.shutdown_grace_s)


def _limited_methods() -> frozenset[str]:
    """Those for which limits of their own can be set."""
    return frozenset(
        f"{service.full_name}/{method.name}"
        for service in (_TRANSFERS, _ACCOUNTS)
        for method in service.methods
    )


def _configured_limits(
    settings: CommandSettings, clients: Collection[str], methods: Collection[str]
) -> LimitTable:
    """Raises ValueError that names the entry of the file which is wrong."""
    rate = RateLimit(settings.client_rate_per_s, settings.client_burst)
    return LimitTable.of_client_rate(rate).read(settings.limits_file, clients, methods)


def _cost(items: int) -> int:
    """What a bulk call takes from its client's rate; one that is too large is refused as such."""
    return min(max(1, items), MAX_BATCH)


async def _drain(server: Server, engine: PostingEngine, grace_s: float) -> None:
    """Refuse new calls, answer those under way, and leave nothing in the queue.

    Takes `grace_s` seconds in all. Raises TimeoutError when that is not enough.
    """
    async with asyncio.timeout(grace_s):
        await server.stop(CALLS_SHARE * grace_s)
        await engine.stop()


async def _stop_when_orphaned(parent: int | None, stop: asyncio.Event) -> None:
    while parent is not None and os.getppid() == parent:  # noqa: ASYNC110  # nothing tells it
        await asyncio.sleep(ORPHAN_POLL_S)
    if parent is not None:
        log.error("the fleet is gone: stopping")
        stop.set()


def _metrics_address(settings: CommandSettings, worker: int) -> str:
    host, port = split_address(settings.metrics_listen)
    return f"{host}:{port + worker}"


def main(
    settings: CommandSettings, worker: int, parent: int | None
) -> Callable[[asyncio.Event], Awaitable[None]]:
    """A function for `process.run`; a worker stops when the process `parent` is gone."""

    async def framed(stop: asyncio.Event) -> None:
        orphaned = in_background(_stop_when_orphaned(parent, stop), "orphan-watch")
        try:
            await serve(settings, worker, stop)
        finally:
            orphaned.cancel()

    return framed
