"""Limits changed while processes run: in force in all of them within seconds, and taken back."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import grpc
import pytest
import redis.asyncio as redis

from deploy.local import LocalStack
from paycore.runtime.refreshed import REFRESH_EVERY_S
from paycore.v1 import actor_pb2
from paycore.v1 import policy_service_pb2 as pb2
from tests.support.callers import TIMEOUT_S, Callers, payment, refusal_of
from tests.support.command_process import command_process
from tests.support.databases import OwnDatabase

BURST = 6
FILED, SET = 0.001, 0.002
"""Rates of a device, of the file and of what is set over it: so slow that nothing comes back while
a test runs."""

WITHIN_S = REFRESH_EVERY_S + 60
"""Time to be in force everywhere, with some for a busy machine."""

METHOD = "paycore.v1.TransferService/HoldFunds"
FILE = f"""
[default]
velocity = {{ window_s = 600, payees = 50, identifiers = 2 }}

[clients.loadtest]
device = {{ per_s = {FILED}, burst = {BURST} }}
user = false
address = false
"""


@dataclass
class Pair:
    """Two processes on ports of their own, with one database and one Redis."""

    processes: list[Callers]
    admin: asyncpg.Connection
    accounts: list[int]

    async def call(self, name: str, request: Any, process: int = 0) -> Any:
        policy = self.processes[process].of("operator").policy
        return await getattr(policy, name)(request, timeout=TIMEOUT_S)

    async def pay(self, process: int, device: str, payee: int = 1) -> Mapping[str, str] | None:
        """What the refusal of a payment says; None where it is posted."""
        who = actor_pb2.Actor(user_id="ada", device_id=device)
        request = payment(self.accounts[0], self.accounts[payee], 1, actor=who)
        refusal = await refusal_of(self.processes[process].of("loadtest").submit(request))
        if refusal is None:
            return None
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED, refusal
        assert refusal.reason == "RATE_LIMITED"
        assert refusal.error is not None
        return refusal.error.metadata

    async def by_device(self, process: int) -> float | None:
        """Of which rate the limit is that a new device meets; None where it meets none.

        Not by how many pass: on a busy machine Redis may be slow, and half of them do.
        """
        device = secrets.token_hex(8)
        for _ in range(BURST + 1):
            told = await self.pay(process, device)
            if told is not None:
                assert told["limit"] == "device"
                return float(told["per_s"])
        return None

    async def payees(self, process: int) -> int:
        """How many of three payees a new device may pay."""
        device = secrets.token_hex(8)
        told = [await self.pay(process, device, payee) for payee in (1, 2, 3)]
        assert {one["limit"] for one in told if one is not None} <= {"velocity"}
        return told.count(None)

    async def audit(self) -> list[tuple[Any, ...]]:
        """Action, subject, client, reason, role, before and after of each change of a limit."""
        rows = await self.admin.fetch(
            "SELECT action, subject, client, reason, database_user, before, after"
            " FROM ledger.audit WHERE subject LIKE 'limit/%' ORDER BY id"
        )
        return [
            (*row[:5], *(None if one is None else json.loads(one) for one in row[5:]))
            for row in rows
        ]


@pytest.fixture
async def admin(database: OwnDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.admin_dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def pair(
    services: LocalStack, database: OwnDatabase, admin: asyncpg.Connection, tmp_path: Path
) -> AsyncIterator[Pair]:
    (tmp_path / "limits.toml").write_text(FILE)
    # A database of Redis that nobody else uses: slow limits of clients would meet other tests.
    redis_url = urlunsplit(urlsplit(services.endpoints.redis_url)._replace(path="/9"))
    async with redis.Redis.from_url(redis_url) as own:
        await own.flushdb()
    async with AsyncExitStack() as stack:
        processes = []
        for number in range(2):
            target, _ = await stack.enter_async_context(
                command_process(
                    services.endpoints,
                    tmp_path / f"command-{number}.log",
                    POSTGRES_DSN=database.dsn("command"),
                    REDIS_URL=redis_url,
                    LIMITS_FILE=str(tmp_path / "limits.toml"),
                )
            )
            callers = Callers(services.endpoints, command_target=target)
            processes.append(await stack.enter_async_context(callers))
        _, *accounts = await processes[0].of("loadtest").open(4, balance=10_000)
        yield Pair(processes, admin, accounts)


async def soon(ask: Callable[[], Awaitable[object]], wanted: object) -> None:
    """`ask` finds `wanted` within WITHIN_S."""
    give_up_s = time.monotonic() + WITHIN_S
    while (found := await ask()) != wanted:
        assert time.monotonic() < give_up_s, f"still {found}, not {wanted}"
        await asyncio.sleep(0.2)


def place(
    name: pb2.LimitName.ValueType = pb2.LIMIT_NAME_DEVICE,
    client: str = "loadtest",
    method: str = "",
) -> pb2.LimitPlace:
    return pb2.LimitPlace(client=client, method=method, name=name)


def setting(where: pb2.LimitPlace, **changes: Any) -> pb2.SetLimitRequest:
    frame = {
        name: changes.pop(name)
        for name in ("idempotency_key", "expected_revision", "reason")
        if name in changes
    }
    return pb2.SetLimitRequest(
        **{"idempotency_key": secrets.token_hex(8), "reason": "agreed", **frame},
        limit=pb2.Limit(place=where, **changes),
    )


def removing(where: pb2.LimitPlace, **changes: Any) -> pb2.RemoveLimitRequest:
    return pb2.RemoveLimitRequest(
        idempotency_key=secrets.token_hex(8), place=where, reason="as before", **changes
    )


def rate(burst: int = BURST, per_s: float = FILED) -> pb2.RateLimit:
    return pb2.RateLimit(per_s=per_s, burst=burst)


async def test_a_limit_that_is_set_holds_everywhere_and_is_taken_back(pair: Pair) -> None:
    """One pair of processes for all: to start them takes longer than to ask."""
    assert await pair.by_device(0) == FILED
    wanted = setting(place(), rate=rate(per_s=SET))
    done = await pair.call("SetLimit", wanted)
    assert (done.limit.source, done.replayed) == (pb2.LIMIT_SOURCE_DATABASE, False)
    assert await pair.by_device(0) == SET
    await soon(lambda: pair.by_device(1), SET)
    again = await pair.call("SetLimit", wanted, process=1)
    assert (again.replayed, again.limit) == (True, done.limit)

    shown = await pair.call("GetLimit", pb2.GetLimitRequest(place=place()), process=1)
    assert shown.limit == shown.in_force == done.limit
    wider = await pair.call("GetLimit", pb2.GetLimitRequest(place=place(method=METHOD)), process=1)
    assert not wider.HasField("limit")
    assert wider.in_force == done.limit

    stale = await refusal_of(
        pair.call("SetLimit", setting(place(), rate=rate(9), expected_revision=1))
    )
    assert stale is not None
    assert stale.error is not None
    assert (stale.reason, stale.error.metadata["actual"]) == (
        "VERSION_MISMATCH",
        str(done.limit.revision),
    )
    nothing = pb2.NoLimit()
    off = setting(place(), off=nothing, expected_revision=done.limit.revision)
    assert (await pair.call("SetLimit", off, process=1)).limit.WhichOneof("setting") == "off"
    assert await pair.by_device(1) is None
    await soon(lambda: pair.by_device(0), None)

    removal = removing(place())
    assert (await pair.call("RemoveLimit", removal, process=1)).removed
    assert await pair.by_device(1) == FILED
    await soon(lambda: pair.by_device(0), FILED)
    replay = await pair.call("RemoveLimit", removal)
    assert (replay.removed, replay.replayed) == (True, True)
    assert not (await pair.call("RemoveLimit", removing(place()))).removed
    reused = setting(place(), rate=rate(7), idempotency_key=wanted.idempotency_key)
    refusal = await refusal_of(pair.call("SetLimit", reused))
    assert refusal is not None
    assert refusal.reason == "IDEMPOTENCY_KEY_REUSED"

    # Velocity, of everybody, over what the file says of everybody.
    everybody = place(pb2.LIMIT_NAME_VELOCITY, "")
    assert await pair.payees(1) == 3
    one = pb2.VelocityLimit(window_s=600, payees=1, identifiers=1)
    await pair.call("SetLimit", setting(everybody, velocity=one))
    assert await pair.payees(0) == 1
    await soon(lambda: pair.payees(1), 1)

    audit = await pair.audit()
    assert [row[:5] for row in audit] == [
        (action, f"limit/{subject}", "operator", reason, "paycore_command")
        for action, subject, reason in (
            ("ADD_LIMIT", "loadtest/device", "agreed"),
            ("CHANGE_LIMIT", "loadtest/device", "agreed"),
            ("REMOVE_LIMIT", "loadtest/device", "as before"),
            ("ADD_LIMIT", "*/velocity", "agreed"),
        )
    ]
    (_, first), (before, after), (last, gone), (_, velocity) = (row[5:] for row in audit)
    assert (first, last, gone) == (before, after, None)
    assert (before["per_s"], before["burst"], after["switched_off"]) == (SET, BURST, True)
    assert (velocity["window_s"], velocity["payees"], velocity["burst"]) == (600, 1, None)

    # What an operator set too low does not keep out the operator.
    own = place(pb2.LIMIT_NAME_CLIENT, "operator")
    for where in (own, place(pb2.LIMIT_NAME_CLIENT, "")):
        await pair.call("SetLimit", setting(where, rate=rate(1)))
    for _ in range(3):
        await pair.call("GetLimit", pb2.GetLimitRequest(place=own))
    await soon(lambda: client_limit_of_another(pair), "client")
    for where in (own, place(pb2.LIMIT_NAME_CLIENT, "")):
        assert (await pair.call("RemoveLimit", removing(where), process=1)).removed


async def client_limit_of_another(pair: Pair) -> str:
    """By what payments without an actor are refused in the second process, if they are."""
    app = pair.processes[1].of("loadtest")
    refusal = await refusal_of(app.submit(payment(pair.accounts[0], pair.accounts[1], 1)))
    if refusal is None:
        return "POSTED"
    assert refusal.error is not None
    return str(refusal.error.metadata["limit"])


async def test_what_is_asked_wrongly_is_refused_and_leaves_nothing(pair: Pair) -> None:
    async def fields_of(request: pb2.SetLimitRequest) -> set[str]:
        refusal = await refusal_of(pair.call("SetLimit", request))
        assert refusal is not None
        assert (refusal.code, refusal.reason) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "INVALID_FIELD",
        )
        return set(refusal.fields)

    nobody = place(client="nobody", method="paycore.v1.TransferService/Steal")
    bad = setting(nobody, rate=rate(0, -1), idempotency_key="", reason="")
    assert await fields_of(bad) == {
        "idempotency_key",
        "reason",
        "limit.place.client",
        "limit.place.method",
        "limit.rate.per_s",
        "limit.rate.burst",
    }
    velocity = place(pb2.LIMIT_NAME_VELOCITY, method=METHOD)
    figures = pb2.VelocityLimit(window_s=86_401, payees=0, identifiers=1_001)
    for request, fields in (
        (
            pb2.SetLimitRequest(idempotency_key="k", reason="r"),
            {"limit.place.name", "limit.setting"},
        ),
        (setting(place(client="", method=METHOD), rate=rate(1)), {"limit.place.method"}),
        (
            setting(velocity, velocity=figures),
            {
                "limit.place.method",
                "limit.velocity.window_s",
                "limit.velocity.payees",
                "limit.velocity.identifiers",
            },
        ),
        (setting(place(pb2.LIMIT_NAME_VELOCITY), rate=rate(1)), {"limit.rate"}),
        (
            setting(place(), velocity=pb2.VelocityLimit(window_s=1, payees=1, identifiers=1)),
            {"limit.velocity"},
        ),
        (setting(place(), rate=rate(87)), {"limit.rate.burst"}),
        (setting(place(), rate=rate(1, float("nan"))), {"limit.rate.per_s"}),
        (setting(place(), rate=rate(1, float("inf"))), {"limit.rate.per_s"}),
        (setting(place(9), rate=rate(1)), {"limit.place.name"}),  # type: ignore[arg-type]
        (
            setting(place(method="paycore.v1.PolicyService/SetLimit"), rate=rate(1)),
            {"limit.place.method"},
        ),
    ):
        assert await fields_of(request) == fields, request
    # The most that comes back within a day is taken.
    await pair.call("SetLimit", setting(place(), rate=rate(86), idempotency_key="edge"))
    # Of who or what is gone a limit can be removed.
    assert not (await pair.call("RemoveLimit", removing(nobody))).removed
    removal = await refusal_of(pair.call("RemoveLimit", pb2.RemoveLimitRequest()))
    assert removal is not None
    assert set(removal.fields) == {"idempotency_key", "reason", "place.name"}
    assert [row[0] for row in await pair.audit()] == ["ADD_LIMIT"]

    for identity in ("app", "loadtest", "analyst", "stranger"):
        policy = pair.processes[0].of(identity).policy
        for ask, asked in (
            (policy.SetLimit, setting(place(), rate=rate(1))),
            (policy.RemoveLimit, removing(place())),
            (policy.GetLimit, pb2.GetLimitRequest(place=place())),
            (policy.ListLimits, pb2.ListLimitsRequest()),
        ):
            refusal = await refusal_of(ask(asked, timeout=TIMEOUT_S))
            assert refusal is not None
            assert refusal.reason == "NOT_PERMITTED"
    await listing(pair)


async def listing(pair: Pair) -> None:
    """All that is said is listed by pages, each with who says it."""

    async def pages(**wanted: Any) -> list[tuple[str, str, str, str]]:
        found, token = [], ""
        while True:
            page = await pair.call(
                "ListLimits", pb2.ListLimitsRequest(page_size=2, page_token=token, **wanted)
            )
            assert len(page.limits) <= 2
            found += [
                (
                    one.place.client,
                    pb2.LimitName.Name(one.place.name).removeprefix("LIMIT_NAME_"),
                    one.WhichOneof("setting"),
                    pb2.LimitSource.Name(one.source).removeprefix("LIMIT_SOURCE_"),
                )
                for one in page.limits
            ]
            token = page.next_page_token
            if not token:
                return found

    everybody = [
        ("", "ADDRESS", "rate", "DEFAULT"),
        ("", "CLIENT", "rate", "DEFAULT"),
        ("", "DEVICE", "rate", "DEFAULT"),
        ("", "USER", "rate", "DEFAULT"),
        ("", "VELOCITY", "velocity", "FILE"),
    ]
    loadtest = [
        ("loadtest", "ADDRESS", "off", "FILE"),
        ("loadtest", "DEVICE", "rate", "DATABASE"),
        ("loadtest", "USER", "off", "FILE"),
    ]
    assert await pages() == everybody + loadtest
    assert await pages(client="") == everybody
    assert await pages(client="loadtest") == loadtest
    page = await pair.call("ListLimits", pb2.ListLimitsRequest(page_size=1))
    for other in (
        pb2.ListLimitsRequest(client="loadtest", page_token=page.next_page_token),
        pb2.ListLimitsRequest(page_token=page.next_page_token[:-2] + "AA"),
        pb2.ListLimitsRequest(page_size=501),
    ):
        refusal = await refusal_of(pair.call("ListLimits", other))
        assert refusal is not None
        assert set(refusal.fields) <= {"page_token", "page_size"}
        assert refusal.fields
