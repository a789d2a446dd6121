"""A read with the position of one's own write never shows an older state, whoever answers it.

PAYCORE_OWN_WRITES says how many writes are each followed by reads. Meanwhile the projector and
Elasticsearch are held up now and then, so that answers come from the ledger too.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from deploy.local import LocalStack
from paycore.v1 import history_service_pb2 as history
from paycore.v1 import money_pb2, transfer_pb2
from paycore.v1 import transfer_service_pb2 as transfers
from tests.crash.conftest import CLIENT
from tests.support.callers import TIMEOUT_S, Caller, Callers, payment
from tests.support.seeds import rounds

WRITES = rounds("PAYCORE_OWN_WRITES", 300)
AT_ONCE = 16
PAUSES_S = (0.0, 0.2, 1.0)
HELD_UP_S = 1.0
SOURCES = {"elasticsearch", "postgresql"}

pytestmark = pytest.mark.timeout(120 + WRITES // 5)


@dataclass
class Writer:
    """Pays to and fro between accounts that others pay to as well, and reads what it has done."""

    caller: Caller
    accounts: Sequence[int]
    rng: random.Random
    sources: Counter[str] = field(default_factory=Counter)
    older: list[str] = field(default_factory=list)
    """What was shown as it had been before the write."""

    async def write_and_read(self) -> None:
        """One payment or one capture of a hold, and every read of history with its position."""
        reply = await self._write()
        mine, token = reply.transfer, reply.position
        # At once it is the ledger that answers most of them, after a moment the index.
        await asyncio.sleep(self.rng.choice(PAUSES_S))
        account, version = self.rng.choice(
            (
                (mine.debit_account_id, mine.debit_version),
                (mine.credit_account_id, mine.credit_version),
            )
        )
        await asyncio.gather(
            self._transfer(mine, token),
            self._balance(account, version, token),
            self._page(account, mine, version, token),
            self._found(account, mine, token),
        )

    async def _write(self) -> Any:
        debit, credit = self.rng.sample(self.accounts, 2)
        amount = self.rng.randint(1, 50)
        if self.rng.random() < 0.7:
            return await self.caller.submit(payment(debit, credit, amount))
        held = await self.caller.transfers.HoldFunds(
            transfers.HoldFundsRequest(
                idempotency_key=secrets.token_hex(12),
                debit_account_id=debit,
                credit_account_id=credit,
                amount=money_pb2.Money(minor_units=amount, currency="EUR"),
                expire_time=_in_an_hour(),
            ),
            timeout=TIMEOUT_S,
        )
        return await self.caller.transfers.CaptureHold(
            transfers.CaptureHoldRequest(
                idempotency_key=f"capture-{held.transfer.id}", hold_id=held.transfer.id
            ),
            timeout=TIMEOUT_S,
        )

    async def _transfer(self, mine: Any, token: str) -> None:
        found = await self._ask(
            self.caller.history.GetTransfer,
            history.GetTransferRequest(transfer_id=mine.id, min_position=token),
        )
        self._expect(found.transfer.id == mine.id, f"transfer {mine.id}")
        if mine.parent_id:
            parent = await self._ask(
                self.caller.history.GetTransfer,
                history.GetTransferRequest(transfer_id=mine.parent_id, min_position=token),
            )
            captured = parent.transfer.state == transfer_pb2.TRANSFER_STATE_CAPTURED
            self._expect(captured, f"the state of {mine.parent_id}")

    async def _balance(self, account: int, version: int, token: str) -> None:
        found = await self._ask(
            self.caller.history.GetBalance,
            history.GetBalanceRequest(account_id=account, min_position=token),
        )
        self._expect(found.version >= version, f"balance of {account} at {found.version}")

    async def _page(self, account: int, mine: Any, version: int, token: str) -> None:
        found = await self._ask(
            self.caller.history.ListTransfers,
            history.ListTransfersRequest(account_id=account, page_size=50, min_position=token),
        )
        versions = [
            one.debit_version if one.debit_account_id == account else one.credit_version
            for one in found.transfers
        ]
        there = mine.id in [one.id for one in found.transfers] or min(versions) > version
        self._expect(there, f"{mine.id} in the list of {account}")

    async def _found(self, account: int, mine: Any, token: str) -> None:
        statement = await self._ask(
            self.caller.history.GetStatement,
            history.GetStatementRequest(
                account_id=account,
                start_time=mine.create_time,
                end_time=_later(mine.create_time),
                include_holds=True,
                min_position=token,
            ),
        )
        ids = [entry.transfer_id for entry in statement.entries]
        self._expect(mine.id in ids, f"{mine.id} in the statement of {account}")

    async def _ask(self, method: Any, request: Any) -> Any:
        reply = await method(request, timeout=TIMEOUT_S)
        self.sources[reply.freshness.source] += 1
        return reply

    def _expect(self, held: bool, what: str) -> None:
        if not held:
            self.older.append(what)


def _in_an_hour() -> Timestamp:
    moment = Timestamp()
    moment.FromSeconds(int(time.time()) + 3600)
    return moment


def _later(moment: Timestamp) -> Timestamp:
    later = Timestamp()
    later.FromMicroseconds(moment.ToMicroseconds() + 1)
    return later


async def hold_up(stack: LocalStack, rng: random.Random) -> None:
    """Stop the projector or Elasticsearch for a moment, again and again."""
    while True:
        await asyncio.sleep(rng.uniform(2.0, 6.0))
        pids = stack.part_pids(rng.choice(("projector", "elasticsearch")))
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(HELD_UP_S)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)


async def test_no_read_is_older_than_the_write_it_follows(
    services: LocalStack, callers: Callers, rng: random.Random
) -> None:
    _, *accounts = await callers.of(CLIENT).open(12, balance=100_000)
    writers = [Writer(callers.another(CLIENT), accounts, rng) for _ in range(AT_ONCE)]
    ahead = iter(range(WRITES))

    async def work(writer: Writer) -> None:
        for _ in ahead:
            await writer.write_and_read()

    disturbing = asyncio.create_task(hold_up(services, rng))
    try:
        async with asyncio.TaskGroup() as group:
            for writer in writers:
                group.create_task(work(writer))
    finally:
        disturbing.cancel()
        await asyncio.gather(disturbing, return_exceptions=True)
    # A machine with much else to do may have kept the index behind all the while.
    async with asyncio.timeout(120):
        while not any(writer.sources["elasticsearch"] for writer in writers):
            await writers[0].write_and_read()
    sources = sum((writer.sources for writer in writers), Counter[str]())
    print(f"{WRITES} writes, reads by source: {dict(sources)}")
    assert [older for writer in writers for older in writer.older] == []
    assert set(sources) == SOURCES
