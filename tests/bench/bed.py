"""What the measurements stand on: a stack of their own, with funded accounts in it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
from elasticsearch import AsyncElasticsearch

from deploy.local import Endpoints, LocalStack
from paycore.runtime.tls import TlsFiles
from paycore.v1 import account_pb2, account_service_pb2, transfer_service_pb2
from tests.bench.errors import BenchError
from tests.bench.index import IndexPositions
from tests.bench.lanes import Lanes, RawCall
from tests.bench.load import Taken, closed_loops
from tests.bench.orders import CURRENCY, Orders, bulk_request, shares
from tests.bench.sizes import BATCH, BULK_CALLERS, Sizes
from tests.bench.usage import Meter

CALLER = "loadtest"
FLOODER = "app"
"""Another client, whose load is not what is measured."""
NOT_EXEMPT = "app"
"""A client whose payments above the policy's threshold need their payer's approval."""
CREATE_ACCOUNTS = "/paycore.v1.AccountService/CreateAccounts"
SUBMIT_TRANSFER = "/paycore.v1.TransferService/SubmitTransfer"
SUBMIT_TRANSFERS = "/paycore.v1.TransferService/SubmitTransfers"

ACCOUNTS_A_CALL = 1_000
EXTERNAL_ACCOUNTS = 4
FUNDS = 10**9
"""Minor units on each account: no measured transfer is declined."""

CONNECTIONS = 16
"""To the command service: enough that its processes get about equal shares."""

READ_SIDE = ("query", "projector", "elasticsearch")
"""Parts that only readers need, in the order to stop them."""


@dataclass(slots=True)
class Bed:
    """A running stack and what the measurements share."""

    stack: LocalStack
    sizes: Sizes
    processes: int
    orders: Orders
    folder: Path
    lanes: Lanes
    index: IndexPositions
    accounts: list[int] = field(default_factory=list)

    @property
    def endpoints(self) -> Endpoints:
        return self.stack.endpoints

    @property
    def tls(self) -> TlsFiles:
        return self.endpoints.tls[CALLER]

    def meter(self) -> Meter:
        """Of the processor time that the stack's parts take."""
        stack = self.stack
        return Meter(lambda: {part: stack.part_pids(part) for part in stack.parts})

    @property
    def has_read_side(self) -> bool:
        return set(READ_SIDE) <= set(self.stack.parts)

    async def stop_read_side(self) -> None:
        """Stop the parts that only readers need, where the stack has them."""
        if self.has_read_side:
            for part in READ_SIDE:
                await asyncio.to_thread(self.stack.stop_part, part)

    async def start_read_side(self) -> None:
        """Start them again."""
        if self.has_read_side:
            for part in reversed(READ_SIDE):
                await asyncio.to_thread(self.stack.start_part, part)

    async def submit(
        self, requests: Sequence[Sequence[bytes]], lanes: Lanes | None = None
    ) -> Taken:
        """SubmitTransfers from a caller for each sequence.

        Raises BenchError where a transfer was not posted.
        """
        taken = await closed_loops((lanes or self.lanes).call(SUBMIT_TRANSFERS), requests)
        for reply in taken.replies:
            check_posted(reply)
        return taken

    async def post(self, transfers: int) -> None:
        """Post about so many transfers between random accounts, unmeasured."""
        calls = -(-transfers // (BATCH * BULK_CALLERS))
        for _ in range(-(-calls // 50)):
            now = min(calls, 50)
            calls -= now
            await self.submit(
                [self.orders.bulks(own, now, BATCH) for own in shares(self.accounts, BULK_CALLERS)]
            )

    async def ledger_size(self) -> int:
        """Transfers in the ledger."""
        connection = await asyncpg.connect(self.endpoints.postgres_dsn["paycore_audit"])
        try:
            return int(await connection.fetchval("SELECT count(*) FROM ledger.transfers"))
        finally:
            await connection.close()

    async def open_accounts(
        self, owners: int | Sequence[str], lanes: Lanes | None = None
    ) -> list[int]:
        """Open a customer account for each of `owners`, or for so many, and fund them; those of
        whoever `lanes` belong to."""
        if isinstance(owners, int):
            owners = [f"owner-{number}" for number in range(owners)]
        create = (lanes or self.lanes).call(CREATE_ACCOUNTS)
        sources = await _open(
            create,
            self.orders,
            [f"owner-{number}" for number in range(EXTERNAL_ACCOUNTS)],
            account_pb2.ACCOUNT_KIND_EXTERNAL,
        )
        opened: list[int] = []
        while len(opened) < len(owners):
            some = owners[len(opened) : len(opened) + ACCOUNTS_A_CALL]
            opened += await _open(create, self.orders, some, account_pb2.ACCOUNT_KIND_CUSTOMER)
        callers: list[list[bytes]] = []
        for source, own in zip(sources, shares(opened, len(sources)), strict=True):
            deposits = [self.orders.deposit(source, account, FUNDS) for account in own]
            callers.append(
                [bulk_request(deposits[at : at + BATCH]) for at in range(0, len(deposits), BATCH)]
            )
        await self.submit(callers, lanes)
        return opened


async def _open(
    create: RawCall,
    orders: Orders,
    owners: Sequence[str],
    kind: account_pb2.AccountKind.ValueType,
) -> list[int]:
    request = account_service_pb2.CreateAccountsRequest(
        accounts=[
            account_service_pb2.CreateAccountRequest(
                idempotency_key=orders.key(),
                owner=owner,
                institution=f"bank-{number % 5}",
                currency=CURRENCY,
                kind=kind,
            )
            for number, owner in enumerate(owners)
        ]
    )
    raw = await create(request.SerializeToString())
    reply = account_service_pb2.CreateAccountsResponse.FromString(raw)
    for outcome in reply.outcomes:
        if not outcome.HasField("account"):
            raise BenchError(f"an account was not opened: {outcome.error.message}")
    return [outcome.account.id for outcome in reply.outcomes]


def check_posted(raw: bytes) -> transfer_service_pb2.SubmitTransfersResponse:
    """The reply to SubmitTransfers. Raises BenchError where one was not posted."""
    reply = transfer_service_pb2.SubmitTransfersResponse.FromString(raw)
    for outcome in reply.outcomes:
        if outcome.WhichOneof("outcome") != "transfer":
            raise BenchError(f"a transfer was not posted: {outcome.error.message}")
    return reply


@asynccontextmanager
async def open_bed(
    stack: LocalStack, sizes: Sizes, processes: int, folder: Path, chance: random.Random
) -> AsyncIterator[Bed]:
    """The bed on a started `stack`, with its accounts open and funded."""
    endpoints = stack.endpoints
    async with AsyncExitStack() as resources:
        lanes = await resources.enter_async_context(
            Lanes(endpoints.command_target, endpoints.tls[CALLER], CONNECTIONS)
        )
        client = await resources.enter_async_context(
            AsyncElasticsearch(
                endpoints.elasticsearch_url,
                basic_auth=(endpoints.elasticsearch_user, endpoints.elasticsearch_password),
                request_timeout=10,
            )
        )
        bed = Bed(
            stack,
            sizes,
            processes,
            Orders(chance),
            folder,
            lanes,
            IndexPositions(client, endpoints.index_prefix),
        )
        bed.accounts = await bed.open_accounts(sizes.accounts)
        yield bed
