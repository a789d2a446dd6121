"""`python -m signing_service` as a process of its own, as the stack runs it."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local import Endpoints
from deploy.local.services import ACCESS_FILE
from paycore.runtime.channel import open_channel

PASSPHRASE = "a passphrase for tests"
START_TIMEOUT_S = 120


class SigningProcess:
    """One signing process on free ports; its output goes to a file."""

    def __init__(self, endpoints: Endpoints, dsn: str, folder: Path) -> None:
        self._endpoints = endpoints
        self._dsn = dsn
        self.target = f"127.0.0.1:{free_port()}"
        self.metrics = f"127.0.0.1:{free_port()}"
        self.keystore = folder / "signing.keystore"
        self.passphrase = folder / "passphrase"
        self.passphrase.write_text(PASSPHRASE + "\n")
        self.log = folder / "signing.log"
        self.process: asyncio.subprocess.Process | None = None
        self.more: dict[str, object] = {}
        """Further settings."""

    async def launch(self) -> asyncio.subprocess.Process:
        """Begin it, ready or not."""
        tls = self._endpoints.tls["signing"]
        settings = {
            "ENVIRONMENT": "local",
            "LISTEN": self.target,
            "METRICS_LISTEN": self.metrics,
            "TLS_CERTIFICATE": tls.certificate,
            "TLS_KEY": tls.key,
            "TLS_CA": tls.ca,
            "ACCESS_FILE": ACCESS_FILE,
            "LOG_LEVEL": "debug",
            "SHUTDOWN_GRACE_S": 5,
            "POSTGRES_DSN": self._dsn,
            "KEYSTORE_FILE": self.keystore,
            "KEYSTORE_PASSPHRASE_FILE": self.passphrase,
            **self.more,
        }
        environment = {f"PAYCORE_SIGNING_{name}": str(value) for name, value in settings.items()}
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "signing_service",
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
            )
        return self.process

    async def start(self) -> None:
        """Begin it and return once it serves."""
        process = await self.launch()
        async with (
            asyncio.timeout(START_TIMEOUT_S),
            open_channel(
                self.target, self._endpoints.tls["operator"], service="signing"
            ) as channel,
        ):
            stub = health_pb2_grpc.HealthStub(channel)
            while True:
                assert process.returncode is None, self.log.read_text()
                reply = await stub.Check(
                    health_pb2.HealthCheckRequest(), timeout=START_TIMEOUT_S, wait_for_ready=True
                )
                if reply.status == health_pb2.HealthCheckResponse.SERVING:
                    return
                await asyncio.sleep(0.05)

    async def stop(self) -> int:
        """End it as an operator does; its exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.terminate()
        return await self.process.wait()

    async def kill(self) -> None:
        """End it at once."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
