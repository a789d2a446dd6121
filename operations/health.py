"""How each part of a deployment is, asked directly and all at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import grpc
from elasticsearch import ApiError, AsyncElasticsearch
from elasticsearch import TransportError as ElasticsearchTransportError
from grpc_health.v1 import health_pb2, health_pb2_grpc
from redis.asyncio import Redis
from redis.exceptions import RedisError

from deploy.local.record import StackRecord, read_record
from deploy.local.state import StateFolder
from operations.deployment import Deployment
from operations.verify import IndexAddress
from paycore.client.errors import ClientError
from paycore.runtime.channel import SEPARATE_CONNECTION, open_channel
from paycore.runtime.tls import TlsFiles

TIMEOUT_S = 3.0
SERVICES = ("command", "signing", "projector", "query")


class NotHealthyError(Exception):
    """A part answered that it is not well, or did not answer."""


@dataclass(frozen=True, slots=True)
class PartHealth:
    """One part. `restarts` is None where no supervisor counts them."""

    name: str
    up: bool
    address: str
    answered_in_ms: float
    restarts: int | None
    problem: str


@dataclass(frozen=True, slots=True)
class System:
    """All parts, and how far the index is behind the ledger."""

    parts: tuple[PartHealth, ...]
    projection_lag_s: float | None
    projection_problem: str
    state: Path | None

    @property
    def healthy(self) -> bool:
        return all(part.up for part in self.parts)


async def examine(deployment: Deployment) -> System:
    """Ask every part of `deployment` that has an address, each for at most TIMEOUT_S."""
    restarts = _restarts(deployment.state)
    probes: list[tuple[str, str, Callable[[], Awaitable[None]]]] = []
    for name in SERVICES:
        target = deployment.targets.get(name)
        if target is not None:
            probes.append((name, target, _service(name, target, deployment.tls)))
    if deployment.audit_dsn is not None:
        probes.append(("postgres", _place(deployment.audit_dsn), _postgres(deployment.audit_dsn)))
    if deployment.replica_dsn is not None:
        place = _place(deployment.replica_dsn)
        probes.append(("replica", place, _postgres(deployment.replica_dsn)))
    if deployment.redis_url is not None:
        probes.append(("redis", _place(deployment.redis_url), _redis(deployment.redis_url)))
    if deployment.index is not None:
        place = _place(deployment.index.url)
        probes.append(("elasticsearch", place, _elasticsearch(deployment.index)))
    asked, sinks = await asyncio.gather(
        asyncio.gather(
            *(_probe(name, place, probe, restarts.get(name)) for name, place, probe in probes)
        ),
        _sinks(deployment),
    )
    parts = [*asked, *sinks]
    if any(part.name == "query" and part.up for part in parts):
        lag_s, problem = await _lag(deployment)
    else:
        lag_s, problem = None, "the query service does not answer"
    return System(tuple(parts), lag_s, problem, deployment.state)


def _restarts(state: Path | None) -> Mapping[str, int]:
    record = StackRecord() if state is None else read_record(StateFolder(state).stack_file)
    return {name: part.restarts for name, part in record.parts.items()}


async def _probe(
    name: str, place: str, ask: Callable[[], Awaitable[None]], restarts: int | None
) -> PartHealth:
    began = time.monotonic()
    problem = ""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await ask()
    except TimeoutError:
        problem = f"no answer in {TIMEOUT_S:g} s"
    except NotHealthyError as error:
        problem = str(error)
    took_ms = (time.monotonic() - began) * 1_000
    return PartHealth(name, not problem, place, took_ms, restarts, problem)


def _service(name: str, target: str, tls: TlsFiles | None) -> Callable[[], Awaitable[None]]:
    async def ask() -> None:
        async with open_channel(target, tls, SEPARATE_CONNECTION, service=name) as channel:
            try:
                reply = await health_pb2_grpc.HealthStub(channel).Check(
                    health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S
                )
            except grpc.aio.AioRpcError as error:
                raise NotHealthyError(error.code().name.lower().replace("_", " ")) from error
        if reply.status != health_pb2.HealthCheckResponse.SERVING:
            word = health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)
            raise NotHealthyError(word.lower().replace("_", " "))

    return ask


async def _sinks(deployment: Deployment) -> list[PartHealth]:
    """Each sink that the projector feeds or stands by for; none where it does not answer."""
    target = deployment.targets.get("projector")
    if target is None:
        return []
    began = time.monotonic()
    async with open_channel(
        target, deployment.tls, SEPARATE_CONNECTION, service="projector"
    ) as channel:
        try:
            reply = await health_pb2_grpc.HealthStub(channel).List(
                health_pb2.HealthListRequest(), timeout=TIMEOUT_S
            )
        except grpc.aio.AioRpcError:
            # The projector's own row says that.
            return []
    took_ms = (time.monotonic() - began) * 1_000
    serving = health_pb2.HealthCheckResponse.SERVING
    return [
        PartHealth(
            name,
            status.status == serving,
            target,
            took_ms,
            None,
            "" if status.status == serving else "blocked: see paycore_projector_blocked",
        )
        for name, status in sorted(reply.statuses.items())
        if name
    ]


def _postgres(dsn: str) -> Callable[[], Awaitable[None]]:
    async def ask() -> None:
        try:
            connection = await asyncpg.connect(dsn, timeout=TIMEOUT_S)
        except (OSError, asyncpg.PostgresError) as error:
            raise NotHealthyError(_first_line(error)) from error
        await connection.close()

    return ask


def _redis(url: str) -> Callable[[], Awaitable[None]]:
    async def ask() -> None:
        client = Redis.from_url(url, socket_timeout=TIMEOUT_S)
        try:
            await client.ping()
        except (OSError, RedisError) as error:
            raise NotHealthyError(_first_line(error)) from error
        finally:
            await client.aclose()

    return ask


def _elasticsearch(address: IndexAddress) -> Callable[[], Awaitable[None]]:
    async def ask() -> None:
        client = AsyncElasticsearch(
            address.url,
            basic_auth=(address.user, address.password) if address.user else None,
            request_timeout=TIMEOUT_S,
            max_retries=0,
        )
        try:
            reply = await client.cluster.health()
        except (ApiError, ElasticsearchTransportError) as error:
            raise NotHealthyError(_first_line(error)) from error
        finally:
            await client.close()
        if reply["status"] == "red":
            raise NotHealthyError("cluster health is red")

    return ask


async def _lag(deployment: Deployment) -> tuple[float | None, str]:
    async with deployment.client(connections=1) as client:
        try:
            measured = await client.latency_of_projection()
        except ClientError as error:
            return None, _first_line(error)
    lag = measured.freshness.lag
    return (None, "it is not filled yet") if lag is None else (lag.total_seconds(), "")


def _place(url: str) -> str:
    """Host and port of a URL, without the user and the password in it."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}"


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
