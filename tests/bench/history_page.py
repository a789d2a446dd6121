"""Latency of history pages, taken at the caller, on a real index of a chosen size.

python -m tests.bench.history_page --transfers 500000
Starts its own stores and one query service process, fills the index with the projector's documents,
and prints a table and, with --json FILE, writes it too. Load generator and all parts share the
machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import secrets
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from elasticsearch import AsyncElasticsearch
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local import Endpoints, LocalStack
from deploy.local.services import ACCESS_FILE
from paycore.runtime.channel import SEPARATE_CONNECTION, open_channel
from paycore.v1 import analytics_service_pb2 as analytics
from paycore.v1 import history_service_pb2 as history
from paycore.v1.analytics_service_pb2_grpc import AnalyticsServiceStub
from paycore.v1.history_service_pb2_grpc import HistoryServiceStub
from projector.batch import Document
from projector.documents import account_document, transfer_document
from projector.sinks.elastic_indices import Indices

PREFIX = "bench"
ACCOUNTS = 1_000
HOT_ACCOUNT = 1
HOT_SHARE = 0.1
START_US = 1_760_000_000_000_000
STEP_US = 2_000
DOCUMENTS_A_BULK = 4_000
SECONDS_A_MEASUREMENT = 10.0

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--transfers", type=int, default=500_000)
    parser.add_argument("--seconds", type=float, default=SECONDS_A_MEASUREMENT)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalStack(
            Path(folder) / "state", parts={"postgres", "elasticsearch"}, schema=True
        ) as stack,
    ):
        rows = asyncio.run(measure(stack.endpoints, Path(folder), arguments))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


async def measure(endpoints: Endpoints, folder: Path, arguments: Any) -> list[Row]:
    await fill(endpoints, arguments.transfers)
    listen = f"127.0.0.1:{free_port()}"
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "query_service", env=environment(endpoints, folder, listen)
    )
    try:
        return await run_all(endpoints, listen, arguments.seconds)
    finally:
        service.send_signal(signal.SIGTERM)
        await service.wait()


async def run_all(endpoints: Endpoints, listen: str, seconds: float) -> list[Row]:
    tls = endpoints.tls["analyst"]
    pick = random.Random(1)
    async with open_channel(listen, tls, SEPARATE_CONNECTION) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while (
            await health.Check(health_pb2.HealthCheckRequest(), timeout=30, wait_for_ready=True)
        ).status != health_pb2.HealthCheckResponse.SERVING:
            await asyncio.sleep(0.1)
        pages = HistoryServiceStub(channel)
        volumes = AnalyticsServiceStub(channel)

        async def first_page() -> Any:
            account = pick.randint(2, ACCOUNTS)
            return await pages.ListTransfers(
                history.ListTransfersRequest(account_id=account), timeout=10
            )

        async def hot_page() -> Any:
            return await pages.ListTransfers(
                history.ListTransfersRequest(account_id=HOT_ACCOUNT), timeout=10
            )

        places: list[tuple[int, str]] = []
        for account in range(2, 102):
            reply = await pages.ListTransfers(
                history.ListTransfersRequest(account_id=account), timeout=10
            )
            places.append((account, reply.next_page_token))

        async def next_page() -> Any:
            account, token = pick.choice(places)
            return await pages.ListTransfers(
                history.ListTransfersRequest(account_id=account, page_token=token), timeout=10
            )

        async def balance() -> Any:
            return await pages.GetBalance(
                history.GetBalanceRequest(account_id=pick.randint(1, ACCOUNTS)), timeout=10
            )

        async def volume() -> Any:
            request = analytics.TransferVolumeRequest(interval=analytics.VOLUME_INTERVAL_MINUTE)
            request.start_time.FromMicroseconds(START_US - pick.randint(1, 10**6))
            request.end_time.FromMicroseconds(START_US + 60_000_000 * 1_000)
            return await volumes.TransferVolume(request, timeout=10)

        async def hot_counterparties() -> Any:
            request = analytics.TopCounterpartiesRequest(account_id=HOT_ACCOUNT)
            request.start_time.FromMicroseconds(START_US - pick.randint(1, 10**6))
            return await volumes.TopCounterparties(request, timeout=10)

        plan: list[tuple[str, Callable[[], Awaitable[Any]], int]] = [
            ("first page of 50", first_page, 1),
            ("first page of 50", first_page, 4),
            ("next page of 50", next_page, 1),
            ("page of the hottest account", hot_page, 1),
            ("balance", balance, 1),
            ("volume by minute, all", volume, 1),
            ("counterparties of the hottest", hot_counterparties, 1),
        ]
        await time_calls(first_page, 4, seconds / 2)
        rows = []
        print(f"{'call':32} callers    per s   p50 ms   p99 ms   max ms")
        for name, call, callers in plan:
            taken = await time_calls(call, callers, seconds)
            row = summary(name, callers, taken, seconds)
            rows.append(row)
            print(
                f"{name:32} {callers:7} {row['per_second']:8.0f} {row['p50_ms']:8.1f}"
                f" {row['p99_ms']:8.1f} {row['max_ms']:8.1f}"
            )
        return rows


async def time_calls(
    call: Callable[[], Awaitable[Any]], callers: int, seconds: float
) -> list[float]:
    taken: list[float] = []
    end = time.perf_counter() + seconds

    async def repeat() -> None:
        while (started := time.perf_counter()) < end:
            await call()
            taken.append(time.perf_counter() - started)

    await asyncio.gather(*(repeat() for _ in range(callers)))
    return taken


def summary(name: str, callers: int, taken: list[float], seconds: float) -> Row:
    percentiles = statistics.quantiles(taken, n=100)
    return {
        "call": name,
        "callers": callers,
        "per_second": len(taken) / seconds,
        "p50_ms": percentiles[49] * 1_000,
        "p99_ms": percentiles[98] * 1_000,
        "max_ms": max(taken) * 1_000,
    }


async def fill(endpoints: Endpoints, transfers: int) -> None:
    async def nothing_to_forget() -> None:
        """The index is new."""

    async with AsyncElasticsearch(
        endpoints.elasticsearch_url,
        basic_auth=(endpoints.elasticsearch_user, endpoints.elasticsearch_password),
        request_timeout=60,
    ) as client:
        await Indices(client, PREFIX).ensure(nothing_to_forget)
        started = time.perf_counter()
        for chunk in chunks(documents(transfers)):
            lines: list[Any] = []
            for document in chunk:
                place = {"_index": f"{PREFIX}-{document.kind.value}", "_id": str(document.id)}
                lines += [json.dumps({"index": place}).encode(), document.body]
            reply = await client.bulk(body=lines)
            if reply["errors"]:
                raise RuntimeError("the index refused documents")
        await client.indices.refresh(index=f"{PREFIX}-*")
        print(f"{transfers} transfers indexed in {time.perf_counter() - started:.0f} s")


def documents(transfers: int) -> Iterator[Document]:
    pick = random.Random(2)
    accounts: dict[int, Row] = {
        number: {
            "id": number,
            "kind": "EXTERNAL" if number == HOT_ACCOUNT else "CUSTOMER",
            "status": "ACTIVE",
            "currency": "EUR",
            "owner": f"user-{number}",
            "institution": f"bank-{number % 5}",
            "opened_by": "app",
            "balance": 100,
            "held": 0,
            "overdraft_limit": 0,
            "version": 1,
            "revision": 0,
            "created_at_us": START_US,
        }
        for number in range(1, ACCOUNTS + 1)
    }
    for account in accounts.values():
        yield account_document(account)
    for number in range(transfers):
        is_deposit = pick.random() < HOT_SHARE
        debit = HOT_ACCOUNT if is_deposit else pick.randint(2, ACCOUNTS)
        credit = pick.randint(2, ACCOUNTS - 1)
        row = {
            "id": 10_000_000 + number,
            "debit_account": debit,
            "credit_account": credit + (credit >= debit),
            "amount": pick.randint(1, 10**6),
            "created_at_us": START_US + number * STEP_US,
            "kind": "DEPOSIT" if is_deposit else "TRANSFER",
            "currency": "EUR",
            "client": "app",
            "reference": f"order-{number}",
            "effective_at_us": None,
            "user_id": f"user-{debit}",
            "device_id": f"device-{debit}",
            "ip_address": "192.0.2.7",
            "description": "goods and services",
            "metadata": '{"order": "17", "shop": "north"}',
            "debit_version": number + 1,
            "credit_version": number + 1,
            "debit_balance_after": pick.randint(1, 10**9),
            "credit_balance_after": pick.randint(1, 10**9),
            "step_up": "BELOW_THRESHOLD",
            "authorization_id": None,
        }
        yield transfer_document(row, accounts, 1, number)


def chunks(items: Iterable[Document]) -> Iterator[list[Document]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, DOCUMENTS_A_BULK)):
        yield chunk


def environment(endpoints: Endpoints, folder: Path, listen: str) -> dict[str, str]:
    key_file = folder / "page-token.key"
    key_file.write_text(secrets.token_hex(32))
    tls = endpoints.tls["query"]
    values = {
        "ENVIRONMENT": "local",
        "LISTEN": listen,
        "METRICS_LISTEN": f"127.0.0.1:{free_port()}",
        "TLS_CERTIFICATE": str(tls.certificate),
        "TLS_KEY": str(tls.key),
        "TLS_CA": str(tls.ca),
        "ACCESS_FILE": str(ACCESS_FILE),
        "LOG_LEVEL": "warning",
        "POSTGRES_DSN": endpoints.postgres_dsn["paycore_query"],
        "ELASTICSEARCH_URL": endpoints.elasticsearch_url,
        "ELASTICSEARCH_USER": endpoints.elasticsearch_user,
        "ELASTICSEARCH_PASSWORD": endpoints.elasticsearch_password,
        "INDEX_PREFIX": PREFIX,
        "PAGE_TOKEN_KEY_FILE": str(key_file),
    }
    return {**os.environ, **{f"PAYCORE_QUERY_{name}": value for name, value in values.items()}}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
