"""Each configuration of deploy/ghz, as ghz would send it, is answered by a real stack."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass

from deploy.ghz.configurations import ONCE, Configuration, configurations
from deploy.ghz.preparation import Preparation, preparation
from deploy.local import LocalStack
from paycore.runtime.channel import open_channel
from tests.support.command_process import command_process
from tests.support.ghz_templates import messages, public_methods

METHODS = public_methods()
CALLS = 3
TIMEOUT_S = 60.0


@pytest.fixture
async def command(services: LocalStack, tmp_path: Path) -> AsyncIterator[str]:
    """A command service that judges payments, beside the stack's own, which does not."""
    log = tmp_path / "judging.log"
    async with command_process(services.endpoints, log, RISK="rules") as (target, _):
        yield target


@pytest.fixture
async def prepared(services: LocalStack, command: str) -> AsyncIterator[Preparation]:
    async with preparation(services.endpoints, command) as prepared:
        yield prepared


@pytest.mark.timeout(600)
async def test_every_configuration_is_answered(
    services: LocalStack, command: str, prepared: Preparation, rng: random.Random
) -> None:
    answered = {}
    for one in configurations():
        things = await prepared.things({sort: CALLS if sort in ONCE else 1 for sort in one.named})
        sent = messages(METHODS[one.method], one.requests(things, CALLS), rng)
        answered[one.name] = await _send(services, command, one, sent)
    assert answered == {one.name: "" for one in configurations()}


async def _send(services: LocalStack, command: str, one: Configuration, sent: list[Any]) -> str:
    """How the calls failed, or nothing."""
    method = METHODS[one.method]
    files = services.endpoints.tls[Path(one.values["cert"]).stem]
    target = command if one.server == "command" else services.endpoints.query_target
    reply: Any = GetMessageClass(method.output_type)
    async with open_channel(target, files, service=one.server) as channel:
        untyped: Any = channel
        path = f"/{one.method}"
        raw = [request.SerializeToString() for request in sent]
        try:
            if method.client_streaming:
                stream = untyped.stream_stream(path, None, reply.FromString)
                outcomes: list[Any] = []
                async for some in stream(iter(raw), timeout=TIMEOUT_S):
                    outcomes += some.outcomes
                asked = sum(len(request.transfers) for request in sent)
                if len(outcomes) != asked:
                    return f"{len(outcomes)} of {asked} outcomes"
                return _failures(outcomes)
            if method.server_streaming:
                watch = untyped.unary_stream(path, None, reply.FromString)
                call = watch(raw[0], timeout=TIMEOUT_S)
                for _ in range(one.values["stream-call-count"]):
                    await call.read()
                call.cancel()
                return ""
            for request in raw[:CALLS]:
                got = await untyped.unary_unary(path, None, reply.FromString)(
                    request, timeout=TIMEOUT_S
                )
                if failures := _failures(getattr(got, "outcomes", ())):
                    return failures
        except grpc.RpcError as error:
            failed: Any = error
            return f"{failed.code().name}: {failed.details()}"
    return ""


def _failures(outcomes: Any) -> str:
    """What is wrong with the parts of a reply, where it has some."""
    return "; ".join(one.error.message for one in outcomes if one.HasField("error"))
