"""The stream of events, and the command that prints it, as the services make it."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from typing import Any

import redis.asyncio as redis
from typer.testing import CliRunner, Result

from deploy.local import LocalStack
from operations.cli.app import app as cli
from paycore.domain.position import Position
from paycore.domain.stream import DEFAULT_PREFIX, NOWHERE, EntryId, epoch_key, stream_key
from paycore.v1 import actor_pb2
from tests.support.callers import Caller, payment, refusal_of


async def test_what_is_posted_and_declined_is_printed_as_it_comes(
    app: Caller, services: LocalStack
) -> None:
    canary = f"canary{secrets.token_hex(6)}"
    _, payer, payee = await app.open(2, balance=1_000)
    first = await app.submit(payment(payer, payee, 1))
    start = await reached(services, first.position)
    details: dict[str, Any] = {
        "description": canary,
        "metadata": {"note": canary},
        "actor": actor_pb2.Actor(user_id="clerk", device_id=canary, ip_address="192.0.2.9"),
    }
    posted = await app.submit(payment(payer, payee, 70, **details))
    declined = await refusal_of(app.submit(payment(payer, payee, 5_000, **details)))
    assert declined is not None
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(120):
        while len(found) < 2:
            result = await tail(services, "--from", start, "--within", "2", "--json")
            assert result.exit_code == 0, result.output
            told = [json.loads(line) for line in result.stdout.splitlines()]
            found += [
                event
                for event in told
                if (event["debit_account"], event["credit_account"]) == (str(payer), str(payee))
            ]
            start = told[-1]["entry"] if told else start
    paid, refused = found
    assert canary not in json.dumps(found)
    transfer = posted.transfer
    assert paid["id"] == str(transfer.id)
    assert (paid["state"], paid["amount"], paid["currency"]) == ("POSTED", "70", "EUR")
    assert (paid["debit_version"], paid["position"]) == (
        str(transfer.debit_version),
        posted.position,
    )
    assert (refused["state"], refused["reason"]) == ("FAILED", "INSUFFICIENT_FUNDS")
    assert refused["debit_version"] is None
    after = await tail(services, "--from", paid["previous"], "--limit", "1", "--within", "20")
    assert f"{paid['entry']}  transfer" in after.stdout
    wrong = await tail(services, "--from", "yesterday")
    assert wrong.exit_code == 2
    assert "not the id of an entry" in wrong.output


async def test_the_status_names_each_sink(services: LocalStack) -> None:
    state = str(services.endpoints.state)
    result = await asyncio.to_thread(
        CliRunner().invoke, cli, ["status", "--state", state, "--json"]
    )
    assert result.exit_code == 0, result.output
    parts = {part["name"]: part["up"] for part in json.loads(result.stdout)["parts"]}
    sinks = {name: up for name, up in parts.items() if name.startswith("projector.")}
    assert sinks == {
        "projector.elasticsearch": True,
        "projector.seal": True,
        "projector.stream": True,
        "projector.webhooks": True,
    }


async def reached(services: LocalStack, position: str) -> str:
    """Where the stream ends, once it has what was written up to `position`.

    A test before may have emptied Redis, or posted faster than the projector follows: a hundred
    thousand events may have to come first.
    """
    wanted, last = Position.decode(position), NOWHERE
    reader = redis.Redis.from_url(services.endpoints.stream_url, decode_responses=True)
    began_s = time.monotonic()
    async with reader:
        while last.xid < wanted.xid:
            assert time.monotonic() - began_s < 240, f"the stream ends with {last}, not {wanted}"
            await asyncio.sleep(0.1)
            epoch = await reader.get(epoch_key(DEFAULT_PREFIX))
            key = stream_key(DEFAULT_PREFIX, int(epoch or 0))
            entries = await reader.xrevrange(key, count=1)
            last = EntryId.parse(str(entries[0][0])) if entries else NOWHERE
    return str(last)


async def tail(services: LocalStack, *arguments: str) -> Result:
    """The command line, which runs an event loop of its own."""
    words = ["stream", "tail", "--state", str(services.endpoints.state), *arguments]
    return await asyncio.to_thread(CliRunner().invoke, cli, words)
