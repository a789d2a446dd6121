"""The service with both sources, as callers of the client library see it."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from paycore.client import PaycoreClient, StatementFilter, TransferFilter
from paycore.client.asynchronous import DEFAULT_TIMEOUTS
from paycore.client.errors import IndexUnavailableError, InvalidFieldError
from paycore.client.retries import Timeouts
from query_service.__main__ import serve
from query_service.settings import QuerySettings
from tests.integration.query_service.conftest import free_port, service_settings, until_serving
from tests.integration.query_service.readers import oracle
from tests.integration.query_service.readers.conftest import World

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
FAR_AHEAD = datetime(2100, 1, 1, tzinfo=UTC)


@asynccontextmanager
async def serving(
    world: World, folder: Path, timeouts: Timeouts = DEFAULT_TIMEOUTS, **changes: object
) -> AsyncIterator[PaycoreClient]:
    key_file = folder / "page-token.key"
    key_file.write_text(secrets.token_hex(32))
    settings: QuerySettings = service_settings(world.database, key_file).model_copy(
        update={
            "index_prefix": world.database.name,
            "signing_target": world.signer.target,
            **changes,
        }
    )
    stop = asyncio.Event()
    service = asyncio.create_task(serve(settings, stop))
    await until_serving(settings)
    client = PaycoreClient(
        "127.0.0.1:1",
        query_target=settings.listen,
        tls=world.database.endpoints.tls["analyst"],
        timeouts=timeouts,
    )
    try:
        yield client
    finally:
        await client.close()
        stop.set()
        await service


async def paycore(world: World, target: str, *arguments: str) -> str:
    """What the command line prints, as the analyst; it must succeed."""
    tls = world.database.endpoints.tls["analyst"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from operations.cli import main; main()",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "PAYCORE_COMMAND_TARGET": "127.0.0.1:1",
            "PAYCORE_QUERY_TARGET": target,
            "PAYCORE_TLS_CERTIFICATE": str(tls.certificate),
            "PAYCORE_TLS_KEY": str(tls.key),
            "PAYCORE_TLS_CA": str(tls.ca),
        },
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output
    return output.decode()


async def test_the_command_line_shows_and_exports_what_the_tables_have(
    world: World, tmp_path: Path
) -> None:
    target = f"127.0.0.1:{free_port()}"
    async with serving(world, tmp_path, listen=target):
        # The last that was opened is in BHD, which has three decimals.
        account = world.others[-1]
        entries = await oracle.entries(world.admin, account)
        # The command line takes whole seconds.
        later = at(entries[-1].created_at_us + 1_000_000).strftime("%Y-%m-%dT%H:%M:%S")
        shown = json.loads(
            await paycore(world, target, "balance", str(account), "--at", later, "--json")
        )
        assert shown["balance"]["minor_units"] == str(entries[-1].balance_after)
        assert shown["available"] is None
        period = ("--from", "2020-01-01", "--to", "2100-01-01")
        file = tmp_path / "statement.csv"
        await paycore(world, target, "statement", str(account), *period, "--csv", str(file))
        printed = await paycore(world, target, "statement", str(account), *period, "--csv", "-")
        assert printed.splitlines() == file.read_text().splitlines()
        left = await asyncio.to_thread(os.listdir, tmp_path)
        assert [one for one in left if one.startswith("statement.csv")] == ["statement.csv"]
        lines = list(csv.DictReader(file.open(newline="")))
        assert (lines[0]["kind"], lines[-1]["kind"]) == ("OPENING", "CLOSING")
        assert [int(line["transfer"]) for line in lines[1:-1]] == [one.transfer for one in entries]
        assert Decimal(lines[-1]["balance"]) * 1_000 == entries[-1].balance_after
        table = await paycore(world, target, "statement", str(account), *period)
        assert "opening" in table
        assert "closing" in table


@pytest.fixture(params=["with the index", "without the index"])
async def client(
    world: World, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[PaycoreClient]:
    """Without the index the service serves all the same, from the ledger."""
    nowhere: dict[str, Any] = {"elasticsearch_url": f"http://127.0.0.1:{free_port()}"}
    changes: dict[str, Any] = {} if request.param == "with the index" else nowhere
    async with serving(world, tmp_path, **changes) as client:
        yield client


def at(time_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=time_us)


async def test_a_statement_is_that_of_the_tables(world: World, client: PaycoreClient) -> None:
    for account in world.accounts[:4]:
        entries = await oracle.entries(world.admin, account)
        wanted = StatementFilter(account, LONG_AGO, FAR_AHEAD, include_holds=True)
        pages = [page async for page in client.get_statement(wanted, page_size=3)]
        assert [entry.transfer for page in pages for entry in page.entries] == [
            one.transfer for one in entries
        ]
        assert pages[0].opening.minor_units == 0
        assert pages[-1].closing.minor_units == (entries[-1].balance_after if entries else 0)
        for page in pages:
            moved = sum(entry.change for entry in page.entries)
            assert page.opening.minor_units + moved == page.closing.minor_units


async def test_a_balance_at_a_time_has_no_available(world: World, client: PaycoreClient) -> None:
    account = world.accounts[1]
    entries = await oracle.entries(world.admin, account)
    middle = entries[len(entries) // 2]
    past = await client.get_balance(account, at=at(middle.created_at_us))
    assert (past.version, past.balance.minor_units, past.held) == (
        middle.version,
        middle.balance_after,
        middle.held,
    )
    assert past.available is None
    before = await client.get_balance(account, at=LONG_AGO)
    assert (before.version, before.balance.minor_units, before.held) == (0, 0, 0)
    now = await client.get_balance(account)
    assert (now.version, now.balance.minor_units) == (
        entries[-1].version,
        entries[-1].balance_after,
    )
    assert now.available is not None


async def test_a_token_of_another_statement_is_refused(world: World, client: PaycoreClient) -> None:
    account = world.accounts[1]
    wanted = StatementFilter(account, LONG_AGO, FAR_AHEAD)
    page = await client.get_statement_page(wanted, page_size=1)
    assert page.next_page_token
    other = StatementFilter(account, LONG_AGO, FAR_AHEAD, include_holds=True)
    with pytest.raises(InvalidFieldError):
        await client.get_statement_page(other, page_token=page.next_page_token)
    with pytest.raises(InvalidFieldError):
        await client.list_transfers_page(TransferFilter(account), page_token=page.next_page_token)


async def test_analytics_alone_need_the_index(world: World, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    # It is asked again until the time is up.
    hurried = Timeouts(ordinary_s=30.0, total_s=3.0)
    async with serving(world, tmp_path, hurried, elasticsearch_url=url) as client:
        page = await client.list_transfers_page(TransferFilter(world.accounts[1]))
        assert page.transfers
        assert page.freshness.source == "postgresql"
        with pytest.raises(IndexUnavailableError):
            await client.transfer_volume(LONG_AGO, LONG_AGO + timedelta(minutes=5))


async def test_personal_data_is_opened_with_keys_and_else_shown_as_unavailable(
    world: World, tmp_path: Path
) -> None:
    rows = await world.admin.fetch(
        "SELECT id FROM ledger.transfer_details WHERE sealed IS NOT NULL"
        " AND NOT EXISTS (SELECT FROM ledger.erased_keys WHERE data_key IN (owner_key, actor_key))"
        " AND id IN (SELECT id FROM ledger.transfers)"
    )
    assert rows
    url = f"http://127.0.0.1:{free_port()}"
    async with serving(world, tmp_path, elasticsearch_url=url) as client:
        views = [await client.get_transfer(row["id"]) for row in rows[:20]]
        assert all(view.transfer.unreadable is None for view in views)
    away: dict[str, Any] = {"elasticsearch_url": url, "signing_target": f"127.0.0.1:{free_port()}"}
    async with serving(world, tmp_path, **away) as client:
        view = await client.get_transfer(rows[0]["id"])
        assert view.transfer.unreadable == "UNAVAILABLE"
        assert view.transfer.description == ""
