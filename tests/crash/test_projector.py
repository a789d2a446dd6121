"""The projector is killed, stopped and failed at random while events flow: the index is the ledger.

`make project EVENTS=1000000 KILLS=50` is the long form; it restarts Elasticsearch too.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping

import asyncpg
import pytest
from elasticsearch import ApiError, AsyncElasticsearch, TransportError

from deploy.local import Endpoints, LocalStack
from deploy.local.services import CHECKOUT
from paycore.domain.position import Position
from tests.integration.projector.test_process import free_port
from tests.support.bulk_ledger import BulkLedger
from tests.support.databases import OwnDatabase
from tests.support.elastic_chaos import Chaos
from tests.support.elastic_proxy import FaultyProxy
from tests.support.index_stream import compare
from tests.support.seeds import rounds

EVENTS = rounds("PAYCORE_PROJECT_EVENTS", 6_000)
KILLS = rounds("PAYCORE_PROJECT_KILLS", 3)
LONG = KILLS > 10
"""Only then is Elasticsearch restarted, for which it takes its time."""

FAULTS = 0.15
"""Share of the requests that fail."""

BATCH = 2_000


class Round:
    """One projector at a time, and who watches what it tells."""

    def __init__(
        self, environment: Mapping[str, str], client: AsyncElasticsearch, prefix: str
    ) -> None:
        self._environment = environment
        self._client = client
        self._prefix = prefix
        self._process: Process | None = None
        self.told = Position(0, 0, 0)
        self.moved = 0
        self.kills = 0

    async def run(self) -> None:
        """Start a process where none runs."""
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "projector",
                cwd=CHECKOUT,
                env={"PATH": os.environ["PATH"], **self._environment},
                stdout=DEVNULL,
                stderr=DEVNULL,
            )  # fmt: skip

    async def kill(self) -> None:
        """End the process wherever it is."""
        assert self._process is not None
        self._process.kill()
        assert await self._process.wait() == -signal.SIGKILL
        self.kills += 1

    async def freeze(self, for_s: float) -> None:
        """Stop it for a while, as a machine that hangs does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(for_s)
        self._process.send_signal(signal.SIGCONT)

    async def end(self) -> None:
        """Nothing is left running."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def watch(self) -> None:
        """Fail where the position that the index tells goes back."""
        while True:
            await self.look()
            await asyncio.sleep(0.05)

    async def look(self) -> None:
        """Read the position once."""
        try:
            found = await self._client.get(
                index=f"{self._prefix}-positions", id="elasticsearch", realtime=True
            )
        except (ApiError, TransportError):
            return
        source = found["_source"]
        position = Position(source["epoch"], source["xid"], source["journal_id"])
        assert position >= self.told, "the index went back in time"
        self.moved += position > self.told
        self.told = position

    async def reach(self, position: Position, within_s: float) -> None:
        """Return once all up to `position` can be found. Fails where that takes too long."""
        give_up_s = time.monotonic() + within_s
        while self.told < position:
            assert time.monotonic() < give_up_s, f"stands at {self.told}, due is {position}"
            await self.run()
            await asyncio.sleep(0.05)


def environment(
    endpoints: Endpoints, database: OwnDatabase, elasticsearch_url: str
) -> dict[str, str]:
    own = {
        "ENVIRONMENT": "local",
        "INSECURE": "true",
        "LISTEN": f"127.0.0.1:{free_port()}",
        "METRICS_LISTEN": f"127.0.0.1:{free_port()}",
        "POSTGRES_DSN": database.dsn("projector"),
        "ELASTICSEARCH_URL": elasticsearch_url,
        "ELASTICSEARCH_USER": endpoints.elasticsearch_user,
        "ELASTICSEARCH_PASSWORD": endpoints.elasticsearch_password,
        "SIGNING_TARGET": "127.0.0.1:1",
        "INDEX_PREFIX": database.name,
        "SINKS": "elasticsearch",
        "STAND_BY_POLL_S": "0.1",
        "PAGE_ENTRIES": "4000" if LONG else "500",
    }
    return {f"PAYCORE_PROJECTOR_{name}": value for name, value in own.items()}


@pytest.mark.timeout(max(300, EVENTS // 250))
async def test_whatever_fails_nothing_is_missing_doubled_or_older_than_it_was(
    stack: LocalStack, endpoints: Endpoints, database: OwnDatabase, rng: random.Random
) -> None:
    client = AsyncElasticsearch(
        endpoints.elasticsearch_url,
        basic_auth=(endpoints.elasticsearch_user, endpoints.elasticsearch_password),
        max_retries=0,
        request_timeout=60,
    )
    writer = await asyncpg.connect(database.dsn("owner"))
    reader = await asyncpg.connect(database.dsn("owner"))
    async with FaultyProxy(endpoints.elasticsearch_url) as proxy:
        proxy.fault = chaos = Chaos(proxy, rng, FAULTS)
        part = Round(environment(endpoints, database, proxy.url), client, database.name)
        watching = asyncio.create_task(part.watch())

        async def write() -> None:
            ledger = await BulkLedger.open(writer, EVENTS)
            while ledger.written < EVENTS:
                await ledger.fill(min(BATCH if LONG else 300, EVENTS))
                # Events flow until the last kill.
                await asyncio.sleep(0 if part.kills >= ledger.written * KILLS // EVENTS else 1.0)

        async def fail() -> None:
            for number in range(KILLS):
                await part.run()
                before = part.moved
                give_up_s = time.monotonic() + 20
                while part.moved == before and time.monotonic() < give_up_s:
                    await asyncio.sleep(0.05)
                await asyncio.sleep(rng.uniform(0, 0.5))
                if rng.random() < 0.3:
                    await part.freeze(rng.uniform(0.1, 1.0))
                if LONG and number % 10 == 5:
                    await asyncio.to_thread(stack.kill_part, "elasticsearch")
                    await asyncio.to_thread(stack.start_part, "elasticsearch")
                await part.kill()

        try:
            writing = asyncio.create_task(write())
            await asyncio.gather(fail(), writing)
            chaos.share = 0.0
            last = await reader.fetchrow(
                "SELECT epoch, xid, id FROM ledger.journal, ledger.epoch"
                " ORDER BY xid DESC, id DESC LIMIT 1"
            )
            await part.reach(Position(last["epoch"], last["xid"], last["id"]), 60 + EVENTS / 500)
            assert not watching.done()
            compared = await compare(reader, client, database.name)
            print(f"{compared:,} documents equal after {part.kills} kills and", chaos.injected)
            assert compared >= EVENTS
            assert part.kills == KILLS
            assert chaos.injected.total() > 0
            assert await reader.fetchval("SELECT count(*) FROM projection.dead_letters") == 0
        finally:
            writing.cancel()
            watching.cancel()
            await asyncio.gather(writing, watching, return_exceptions=True)
            await part.end()
            for made in await client.indices.get(index=f"{database.name}-*"):
                await client.indices.delete(index=made)
            await client.close()
            await writer.close()
            await reader.close()
