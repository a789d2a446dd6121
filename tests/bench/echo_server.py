"""`python -m tests.bench.echo_server`: one process that echoes, on the services' server stack.

Same event loop, transport, options and stubs as a service of paycore; nothing of it stands before
the method. Several processes may share a port.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any

import grpc

from paycore.bench.v1 import echo_pb2, echo_pb2_grpc
from paycore.runtime.certificates import Certificates, server_credentials
from paycore.runtime.clock import SystemClock
from paycore.runtime.process import run
from paycore.runtime.server import OPTIONS
from paycore.runtime.tls import TlsFiles
from tests.bench.echo import LISTENING

GRACE_S = 2.0


class EchoServicer(echo_pb2_grpc.EchoServiceServicer):
    async def Echo(self, request: echo_pb2.EchoRequest, context: Any) -> echo_pb2.EchoResponse:  # noqa: N802
        return echo_pb2.EchoResponse(payload=request.payload)


async def serve(listen: str, tls: TlsFiles, stop: asyncio.Event) -> None:
    server = grpc.aio.server(options=OPTIONS)
    echo_pb2_grpc.add_EchoServiceServicer_to_server(EchoServicer(), server)
    server.add_secure_port(listen, server_credentials(Certificates(tls, SystemClock())))
    await server.start()
    print(LISTENING.decode(), flush=True)
    await stop.wait()
    await server.stop(GRACE_S)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", required=True, help="host:port")
    for name in ("certificate", "key", "ca"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="PEM file")
    arguments = parser.parse_args()
    tls = TlsFiles(arguments.certificate, arguments.key, arguments.ca)
    return run(lambda stop: serve(arguments.listen, tls, stop))


if __name__ == "__main__":
    raise SystemExit(main())
