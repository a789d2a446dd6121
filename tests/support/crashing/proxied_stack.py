"""A local stack of its own, whose parts reach each other through proxies that can fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from deploy.local import Endpoints, LocalStack, StackSettings
from tests.support.first_index import await_index
from tests.support.postgres_proxy import PostgresProxy
from tests.support.tcp_proxy import TcpProxy

WORKERS = 2


@dataclass
class Links:
    """The proxies, by who speaks to whom."""

    client_command: TcpProxy
    command_postgres: PostgresProxy
    command_redis: TcpProxy
    command_signing: TcpProxy
    signing_postgres: PostgresProxy
    projector_elasticsearch: TcpProxy
    projector_redis: TcpProxy

    @classmethod
    def of(cls, endpoints: Endpoints) -> Links:
        """Not listening yet."""
        return cls(
            client_command=_before(f"//{endpoints.command_target}"),
            command_postgres=PostgresProxy(endpoints.postgres_dsn["paycore_command"]),
            command_redis=_before(endpoints.redis_url),
            command_signing=_before(f"//{endpoints.signing_target}"),
            signing_postgres=PostgresProxy(endpoints.postgres_dsn["paycore_signing"]),
            projector_elasticsearch=_before(endpoints.elasticsearch_url),
            projector_redis=_before(endpoints.projector_redis_url),
        )

    @property
    def all(self) -> Mapping[str, TcpProxy]:
        """By name."""
        return {name.replace("_", "-"): proxy for name, proxy in vars(self).items()}

    def changes(self, endpoints: Endpoints) -> dict[str, dict[str, str]]:
        """The settings by which the services go through the proxies, which must listen."""
        return {
            "command": {
                "POSTGRES_DSN": self.command_postgres.dsn,
                "REDIS_URL": _through(self.command_redis, endpoints.redis_url),
                "SIGNING_TARGET": f"127.0.0.1:{self.command_signing.port}",
            },
            "signing": {"POSTGRES_DSN": self.signing_postgres.dsn},
            "projector": {
                "ELASTICSEARCH_URL": _through(
                    self.projector_elasticsearch, endpoints.elasticsearch_url
                ),
                "REDIS_URL": _through(self.projector_redis, endpoints.projector_redis_url),
            },
        }


@dataclass
class ProxiedStack:
    """The stack, and the proxies between its parts."""

    stack: LocalStack
    links: Links

    @property
    def endpoints(self) -> Endpoints:
        """Where the parts are, past the proxies."""
        return self.stack.endpoints

    @property
    def command_target(self) -> str:
        """The command service through its proxy."""
        return f"127.0.0.1:{self.links.client_command.port}"

    def workers(self) -> list[int]:
        """Process ids of the command service's workers, not of the process that watches them."""
        return [pid for pid in self.stack.part_pids("command") if b"--worker" in _arguments(pid)]


@asynccontextmanager
async def proxied_stack(folder: Path) -> AsyncIterator[ProxiedStack]:
    """All parts, started; they are gone afterwards."""
    loop = asyncio.get_running_loop()
    opened: list[Links] = []
    async with AsyncExitStack() as resources:

        async def listen(endpoints: Endpoints) -> dict[str, dict[str, str]]:
            links = Links.of(endpoints)
            for proxy in links.all.values():
                await resources.enter_async_context(proxy)
            opened.append(links)
            return links.changes(endpoints)

        def changes(endpoints: Endpoints) -> dict[str, dict[str, str]]:
            # Called on the thread that starts the stack; the proxies live in this loop.
            return asyncio.run_coroutine_threadsafe(listen(endpoints), loop).result(30)

        stack = LocalStack(
            folder,
            processes=WORKERS,
            changes=changes,
            settings=StackSettings(read_side_niceness=0),
        )
        try:
            await asyncio.to_thread(stack.start)
            await asyncio.to_thread(await_index, stack.endpoints)
            yield ProxiedStack(stack, opened[0])
        finally:
            await asyncio.to_thread(stack.stop)


def _before(url: str) -> TcpProxy:
    place = urlsplit(url)
    assert place.hostname is not None
    assert place.port is not None
    return TcpProxy(place.hostname, place.port)


def _through(proxy: TcpProxy, url: str) -> str:
    place = urlsplit(url)
    _, at, _ = place.netloc.rpartition("@")
    credentials = place.netloc[: -len(place.netloc.rpartition("@")[2])] if at else ""
    return urlunsplit(place._replace(netloc=f"{credentials}127.0.0.1:{proxy.port}"))


def _arguments(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        # It has ended since it was listed.
        return []
