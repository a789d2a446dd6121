"""Certificates with anything changed in them let nobody in, and stop no server.

PAYCORE_MUTATIONS says how many are tried; each byte of the certificate comes up in 8 times its
length.
"""

from __future__ import annotations

import asyncio
import os
import random
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from grpc_health.v1 import health_pb2, health_pb2_grpc

from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.channel import open_channel
from paycore.runtime.peers import peer_of
from paycore.runtime.server import Server
from paycore.runtime.settings import ServiceSettings, split_address
from paycore.runtime.tls import MAX_IDENTITY
from tests.support.forgery import Authority, self_signed
from tests.support.raw_tls import show

MUTATIONS = int(os.environ.get("PAYCORE_MUTATIONS", "500"))
AT_ONCE = 8

AUTHORITY = Authority.new()
APP = AUTHORITY.issue_caller("app")
OTHER = AUTHORITY.issue_caller("operator")


def mutated(original: bytes, rng: random.Random, count: int) -> Iterator[bytes]:
    """`count` things that are not `original`: each bit flipped in turn, then larger changes."""
    places = list(range(8 * len(original)))
    rng.shuffle(places)
    for number in range(count):
        changed = bytearray(original)
        if number % 4 != 3:
            place = places[number % len(places)]
            changed[place // 8] ^= 1 << place % 8
        else:
            start = rng.randrange(len(original))
            end = min(len(original), start + rng.randint(1, 64))
            match rng.randrange(6):
                case 0:
                    del changed[start:]
                case 1:
                    del changed[start:end]
                case 2:
                    changed[start:start] = rng.randbytes(end - start)
                case 3:
                    changed[start:end] = rng.randbytes(end - start)
                case 4:
                    changed += rng.randbytes(end - start)
                case _:
                    # A part of another good certificate: its name, its key, its signature.
                    changed[start:end] = OTHER.der[start:end]
        if changed == original:
            changed[start] ^= 0xFF
        yield bytes(changed)


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[str]:
    files = AUTHORITY.issue_service("command").write(tmp_path / "command", AUTHORITY.pem)
    server = Server(
        ServiceSettings(
            environment="local",
            listen="127.0.0.1:0",
            tls_certificate=files.certificate,
            tls_key=files.key,
            tls_ca=files.ca,
        )
    )
    port = await server.start()
    await server.set_serving(True)
    yield f"127.0.0.1:{port}"
    await server.stop(0)


async def admits_the_original(target: str, folder: Path) -> bool:
    files = APP.write(folder, AUTHORITY.pem)
    async with open_channel(target, files, service="command") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        reply = await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


async def test_no_mutation_of_a_certificate_is_accepted(
    target: str, rng: random.Random, tmp_path: Path
) -> None:
    host, port = split_address(target)
    authority = AUTHORITY.certificate.public_bytes(Encoding.DER)
    untouched = await asyncio.to_thread(show, host, port, [APP.der], 0.5)
    assert not untouched.refused, "the original is what the mutations are told from"

    chains: list[list[bytes]] = [
        [],
        [b""],
        [self_signed("app").der],
        [self_signed("app").der, authority],
        [Authority.new().issue_caller("app").der, APP.der],
        [Authority(APP.certificate, APP.key).issue_caller("operator").der, APP.der, authority],
        [rng.randbytes(400)],
        [rng.randbytes(100_000)],
    ]
    attempts = iter([*chains, *([one] for one in mutated(APP.der, rng, MUTATIONS))])
    tried = 0

    async def try_some() -> None:
        nonlocal tried
        for chain in attempts:
            verdict = await asyncio.to_thread(show, host, port, chain)
            assert verdict.refused, [one.hex() for one in chain]
            tried += 1

    await asyncio.gather(*(try_some() for _ in range(AT_ONCE)))
    assert tried == len(chains) + MUTATIONS
    assert await admits_the_original(target, tmp_path / "app")


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_no_content_of_a_certificate_upsets_the_gate(rng: random.Random) -> None:
    """As if the authority had signed it: whoever it names then, the gate answers."""
    now_us = int(APP.certificate.not_valid_before_utc.timestamp() * 1e6) + 1
    assert peer_of(APP.pem, now_us).identity == "app"
    refusals = set()
    for changed in mutated(APP.der, rng, 4 * MUTATIONS):
        try:
            identity = peer_of(ssl.DER_cert_to_PEM_cert(changed).encode(), now_us).identity
        except PaycoreError as error:
            refusals.add(error.reason)
        else:
            assert len(identity) <= MAX_IDENTITY
    assert refusals == {Reason.UNAUTHENTICATED}
