"""Reads the stream of events as its readers do, and holds it against the ledger."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing

from deploy.local import LocalStack
from paycore.client.stream import EARLIEST, LATEST, TransferStream
from paycore.client.stream_events import StreamEvent
from tests.integration.projector.ledger import Payment, TestLedger, random_payments

NOWHERE = "0-0"
"""Where a stream without events ends."""


async def streamed(stack: LocalStack) -> list[StreamEvent]:
    """Every event that the stream has by now, as its readers see it."""
    events: list[StreamEvent] = []
    async with await TransferStream.open(stack.endpoints.stream_url) as stream:
        newest = await stream._first_of(LATEST)
        if newest == NOWHERE:
            return []
        async with aclosing(stream.follow(EARLIEST)) as reading, asyncio.timeout(60):
            while not events or events[-1].entry != newest:
                events.append(await anext(reading))
    return events


LISTED = """
SELECT journal.xid, items.id, items.place,
       row_number() OVER (PARTITION BY journal.xid ORDER BY journal.id, items.place) AS ordinal
FROM ledger.journal
CROSS JOIN LATERAL unnest(transfers || declines) WITH ORDINALITY AS items (id, place)
ORDER BY journal.xid, journal.id, items.place
"""

ITEMS = """
SELECT moved.id, CASE moved.kind WHEN 'HOLD' THEN 'HELD' ELSE 'POSTED' END AS state,
       moved.kind::text, moved.currency, moved.amount, moved.debit_account, moved.credit_account,
       moved.debit_version, moved.credit_version, moved.created_at_us, '' AS reason,
       payer.institution AS debit_institution, payee.institution AS credit_institution
FROM ledger.transfers AS moved
JOIN ledger.accounts AS payer ON payer.id = debit_account
JOIN ledger.accounts AS payee ON payee.id = credit_account
UNION ALL
SELECT refused.id, 'FAILED', refused.kind::text, refused.currency, amount, debit_account,
       credit_account, NULL, NULL, refused.created_at_us, reason, payer.institution,
       payee.institution
FROM ledger.declines AS refused
JOIN ledger.accounts AS payer ON payer.id = debit_account
JOIN ledger.accounts AS payee ON payee.id = credit_account
"""


async def entries_of(ledger: TestLedger) -> list[str]:
    return [f"{row['xid']}-{row['ordinal']}" for row in await ledger.rows(LISTED)]


async def assert_equals(ledger: TestLedger, events: list[StreamEvent]) -> None:
    """The stream has exactly what the ledger has, in the journal's order."""
    assert [event.entry for event in events] == await entries_of(ledger)
    assert [event.previous for event in events] == ["0-0", *(one.entry for one in events[:-1])]
    rows = {row["id"]: row for row in await ledger.rows(ITEMS)}
    listed = [row["id"] for row in await ledger.rows(LISTED)]
    assert [event.id for event in events] == listed
    for event in events:
        row = rows[event.id]
        assert {name: getattr(event, name) for name in row} == row


async def write(ledger: TestLedger, rng: random.Random, times: int) -> None:
    accounts = await ledger.open_accounts(8)
    for _ in range(times):
        await ledger.post(random_payments(rng, accounts, rng.randint(1, 9)))
        if rng.random() < 0.3:
            debit, credit = rng.sample(accounts, 2)
            await ledger.decline(Payment(debit, credit, 9))
