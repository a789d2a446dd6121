"""A PIN appears in no table, key, document, log, file or error of the whole system."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis.asyncio as redis
from elasticsearch import AsyncElasticsearch

from deploy.local import Endpoints, LocalStack
from deploy.local.endpoints import DATABASE, with_place
from paycore.client import Money, Pin, TransferOrder
from paycore.client.errors import ClientError, PinIncorrectError, PinTooWeakError
from paycore.domain.transfers import StepUpBasis
from paycore.v1 import history_service_pb2
from tests.support.callers import Caller, answered
from tests.support.load import patient_client

ABOVE_THRESHOLD = 150_000


def canary() -> Pin:
    """A PIN that nothing else can look like by chance."""
    while True:
        digits = "".join(secrets.choice("0123456789") for _ in range(12))
        if len(set(digits)) > 6:
            return Pin(digits)


def forms(pin: Pin) -> set[bytes]:
    """Ways in which the PIN might have been written."""
    digits = pin.reveal().encode()
    padded = digits.ljust(16, b"\0")
    return {
        digits,
        digits[::-1],
        digits.hex().encode(),
        base64.b64encode(digits),
        base64.b64encode(padded),
        padded.hex().encode(),
    }


async def test_a_pin_leaves_no_trace_anywhere(services: LocalStack, app: Caller) -> None:
    endpoints = services.endpoints
    right, wrong, weak = canary(), canary(), Pin("111111111111")
    user = f"user-{secrets.token_hex(6)}"
    outside, payer, payee = await app.open(2, owner=user)
    await app.fund(outside, [payer], 1_000_000, "EUR")
    told: list[str] = []
    async with patient_client(endpoints, "app") as client:
        await client.enroll_pin(user, right)
        order = TransferOrder(payer, payee, Money(ABOVE_THRESHOLD, "EUR"))
        done = await client.submit_transfer(order, pin=right)
        assert done.transfer.step_up_basis is StepUpBasis.AUTHORIZED
        told.append(repr(done))
        with pytest.raises(PinIncorrectError) as refused:
            await client.submit_transfer(order, pin=wrong)
        told.append(_everything_of(refused.value))
        with pytest.raises(PinTooWeakError) as refused_weak:
            await client.enroll_pin(f"{user}-2", weak)
        told.append(_everything_of(refused_weak.value))
        position = done.position
        found: Any = await answered(
            lambda: app.history.GetTransfer(_get_transfer(done.transfer.id, position), timeout=15)
        )
        told.append(str(found))

    places = {
        "replies and errors": "\n".join(told).encode(),
        "tables": await _tables(endpoints),
        "redis": await _redis(endpoints),
        "index": await _index(endpoints),
        **dict(_files(endpoints.state)),
    }
    assert len(places["tables"]) > 1_000
    assert user.encode() in places["tables"]
    assert str(done.transfer.id).encode() in places["index"]
    assert any(name.endswith("signing.log") for name in places)
    leaks = [
        (name, "right" if pin is right else "wrong")
        for name, content in places.items()
        for pin in (right, wrong)
        for form in forms(pin)
        if form in content
    ]
    assert leaks == []


def _get_transfer(transfer: int, position: str) -> Any:
    return history_service_pb2.GetTransferRequest(transfer_id=transfer, min_position=position)


def _everything_of(error: ClientError) -> str:
    return f"{error!r} {error} {vars(error)} {error.__cause__!r} {error.__context__!r}"


async def _tables(endpoints: Endpoints) -> bytes:
    """Every row of every table of the services' database."""
    admin = with_place(endpoints.postgres_admin_dsn, database=DATABASE)
    connection = await asyncpg.connect(admin)
    try:
        tables = await connection.fetch(
            "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        lines = []
        for table in tables:
            rows = await connection.fetch(f"SELECT t::text AS line FROM {table['name']} AS t")
            lines += [row["line"] for row in rows]
        return "\n".join(lines).encode()
    finally:
        await connection.close()


async def _redis(endpoints: Endpoints) -> bytes:
    """Every key with its value, as Redis dumps it."""
    client = redis.Redis.from_url(endpoints.redis_url)
    try:
        found = [
            key + b" " + (await client.dump(key) or b"") async for key in client.scan_iter("*")
        ]
        return b"\n".join(found)
    finally:
        await client.aclose()


async def _index(endpoints: Endpoints) -> bytes:
    """Every document of every index."""
    client = AsyncElasticsearch(
        endpoints.elasticsearch_url,
        basic_auth=(endpoints.elasticsearch_user, endpoints.elasticsearch_password),
        request_timeout=60,
    )
    try:
        found: list[Any] = []
        after: list[Any] | None = None
        while True:
            page = await client.search(
                index=f"{endpoints.index_prefix}-*",
                size=5_000,
                sort=[{"_doc": "asc"}],
                search_after=after,
                track_total_hits=False,
            )
            hits = page["hits"]["hits"]
            found += hits
            if len(hits) < 5_000:
                return json.dumps([dict(hit) for hit in found]).encode()
            after = hits[-1]["sort"]
    finally:
        await client.close()


def _files(state: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of the stack: logs, keys, and the stores' own files on disk."""
    for path in state.rglob("*"):
        if path.is_file():
            try:
                yield str(path), path.read_bytes()
            except FileNotFoundError:
                # The stores remove files of theirs as they go.
                continue


def test_a_pin_prints_as_stars_wherever_it_is_printed() -> None:
    pin = canary()
    shown = f"{pin} {pin!r} {pin!s:>20} {[pin]} {(pin,)}"
    assert not any(form.decode("latin-1") in shown for form in forms(pin))
