"""Every method of every server with every identity, and with those that are none.

What must be is in access.txt: a line for each method, a column for each caller. A method that is
new, or open to others than it was, shows as a difference to that file.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from deploy.local import LocalStack
from deploy.local.certificates import IDENTITIES
from deploy.local.layout import SERVICES
from paycore.runtime.channel import OPTIONS, SEPARATE_CONNECTION, open_channel
from paycore.runtime.errors import from_rpc_error
from paycore.runtime.tls import TlsFiles, server_name
from tests.support.callers import TIMEOUT_S
from tests.support.forgery import HOUR, Authority, Leaf, around_now, self_signed
from tests.support.load import patient_client
from tests.support.served import served

EXPECTED = Path(__file__).with_name("access.txt")

NOT_SERVED = ("paycore.v1.TransferService/EmptyTheBank", "paycore.v1.Treasury/Open")

LEGEND = """\
# Who gets past the gate of which method of the local stack (test_access.py).
#   yes   the method itself answers
#   no    NOT_PERMITTED
#   who   UNAUTHENTICATED: the certificate is trusted and names no caller
#   none  UNIMPLEMENTED: there is no such method
#   -     no handshake
"""

Handshake = grpc.ChannelCredentials


def strangers(files: TlsFiles) -> dict[str, Handshake]:
    """Callers that are none of the stack's: by what is wrong with them."""
    ours, trusted = Authority.of_stack(files), files.ca.read_bytes()
    app = "spiffe://paycore/app"
    shown: dict[str, Leaf] = {
        "unlisted": ours.issue_caller("somebody-else"),
        "no-uri": ours.issue(dns=["app"]),
        "name-only": ours.issue(common_name="app"),
        "two-uris": ours.issue([app, "spiffe://paycore/operator"]),
        "elsewhere": ours.issue(["spiffe://elsewhere/app"]),
        "expired": ours.issue_caller("app", around_now(2 * HOUR, -HOUR)),
        "self-signed": self_signed("app"),
        "foreign": Authority.new("paycore local authority").issue_caller("app"),
    }
    return {
        "without": grpc.ssl_channel_credentials(trusted),
        **{
            name: grpc.ssl_channel_credentials(trusted, leaf.key_pem, leaf.pem)
            for name, leaf in shown.items()
        },
    }


@asynccontextmanager
async def opened(
    target: str, server: str, credentials: Handshake
) -> AsyncIterator[grpc.aio.Channel]:
    options = (
        *OPTIONS,
        *SEPARATE_CONNECTION,
        ("grpc.ssl_target_name_override", server_name(server)),
    )
    async with grpc.aio.secure_channel(target, credentials, options) as channel:
        yield channel


async def verdict(channel: Any, path: str) -> str:
    """What becomes of an empty request, which is malformed for most methods."""
    try:
        # As a stream of replies, of which the first is enough: some have no last one.
        await channel.unary_stream(f"/{path}")(b"", timeout=TIMEOUT_S).read()
    except grpc.aio.AioRpcError as refused:
        error = from_rpc_error(refused)
        if error is None:
            bare = {grpc.StatusCode.UNAVAILABLE: "-", grpc.StatusCode.UNIMPLEMENTED: "none"}
            return bare.get(refused.code(), refused.code().name)
        known = {"NOT_PERMITTED": "no", "UNAUTHENTICATED": "who", "INVALID_FIELD": "yes"}
        return known.get(error.reason, error.reason)
    return "yes"


async def column(
    target: str, server: str, credentials: Handshake, paths: Sequence[str]
) -> list[str]:
    async with opened(target, server, credentials) as channel:
        return [await verdict(channel, path) for path in paths]


def table(columns: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Readable, and with one line to a method in a comparison."""
    wide = max(len(name) for name, _ in rows)
    widths = [max(len("none"), len(name)) for name in columns]
    text = LEGEND
    for name, cells in (("", columns), *rows):
        padded = (f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
        text += f"{name:<{wide}}  {'  '.join(padded)}".rstrip() + "\n"
    return text


async def test_everybody_may_call_what_the_table_says_and_nothing_else(
    services: LocalStack, tmp_path: Path
) -> None:
    endpoints = services.endpoints
    # A new stack has no index until the projector has made it: the client waits.
    async with patient_client(endpoints, "app") as client:
        await client.kind_breakdown()
    callers = {
        name: grpc.ssl_channel_credentials(
            files.ca.read_bytes(), files.key.read_bytes(), files.certificate.read_bytes()
        )
        for name, files in endpoints.tls.items()
    }
    callers = {name: callers[name] for name in IDENTITIES} | strangers(endpoints.tls["app"])
    rows: list[tuple[str, Sequence[str]]] = []
    for server in SERVICES:
        target = endpoints.target(server)
        methods = await served(target, endpoints.tls["operator"], server)
        paths = [f"{one.containing_service.full_name}/{one.name}" for one in methods]
        paths += NOT_SERVED
        columns = await asyncio.gather(
            *(column(target, server, credentials, paths) for credentials in callers.values())
        )
        rows += [
            (f"{server} {path}", cells)
            for path, cells in zip(paths, zip(*columns, strict=True), strict=True)
        ]
    actual = table(list(callers), rows)
    (tmp_path / EXPECTED.name).write_text(actual)
    assert actual.splitlines() == EXPECTED.read_text().splitlines(), (
        f"the whole table as it is: {tmp_path / EXPECTED.name}"
    )


@pytest.mark.parametrize("identity", ["stranger", "analyst"])
async def test_who_may_not_is_told_which_method_and_who_they_are(
    services: LocalStack, identity: str
) -> None:
    endpoints = services.endpoints
    method = "paycore.v1.TransferService/SubmitTransfer"
    channel = open_channel(endpoints.target("command"), endpoints.tls[identity], service="command")
    async with channel:
        untyped: Any = channel
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await untyped.unary_unary(f"/{method}")(b"", timeout=TIMEOUT_S)
    error = from_rpc_error(caught.value)
    assert error is not None
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert error.metadata == {"method": method, "client": identity}
