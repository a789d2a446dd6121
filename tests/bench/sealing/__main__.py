"""`python -m tests.bench.sealing`: measure on a database of its own, and print a table."""

from __future__ import annotations

import secrets
import statistics
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, TypeVar

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from deploy.local import LocalStack
from paycore.domain.accounts import AccountId
from paycore.domain.sealed import SubjectKey
from paycore.domain.transfers import Details, Posted, TransferCommand
from paycore.runtime.data_keys import DataKeys
from paycore.runtime.sealing import seal, unseal
from tests.bench.machine import describe
from tests.integration.personal.conftest import Desk, open_desk
from tests.support.command_core import payment
from tests.support.data_key_server import DataKeyServer, data_key_server
from tests.support.databases import OwnDatabase, own_database, prepare_template

T = TypeVar("T")
Figures = list[tuple[str, str]]

BATCH = 1_000
"""Transfers of one bulk request."""

PAIRS = 1_000
TIMES = 20_000

DETAILS = Details(
    "user-4711", "phone-0815", "192.0.2.7", "Rent of November, flat 4b", {"contract": "c-4711"}
)

app = typer.Typer(add_completion=False)
console = Console()


@app.command()
def main(
    rounds: Annotated[int, typer.Option(min=1, help="Bulk requests of each kind.")] = 20,
) -> None:
    """Compare bulk requests with and without details, in turns, in one run."""
    with tempfile.TemporaryDirectory(prefix="paycore-bench-") as folder:
        stack = LocalStack(Path(folder), parts={"postgres"}, schema=True)
        endpoints = stack.start()
        try:
            template = prepare_template(endpoints)
            with own_database(endpoints, template) as database:
                machine, figures = uvloop.run(_measure_all(database, rounds))
        finally:
            stack.stop()
    console.print("; ".join(f"{name} {value}" for name, value in machine.items()))
    table = Table("what", "figure")
    for name, figure in figures:
        table.add_row(name, figure)
    console.print(table)


async def _measure_all(database: OwnDatabase, rounds: int) -> tuple[dict[str, str], Figures]:
    machine = await describe(database.endpoints, {"postgres"})
    figures = _of_one_row()
    async with data_key_server(database) as signer, open_desk(database, signer) as desk:
        figures += await _of_keys(desk, signer)
        figures += await _of_bulk(desk, rounds)
    return machine, figures


def _of_one_row() -> Figures:
    one, two = (SubjectKey(number, secrets.token_bytes(32)) for number in (1, 2))
    figures = []
    for name, keys in (("one key", (one,)), ("two keys", (one, two))):
        details = replace(DETAILS, keys=keys)
        row = seal(7, details)
        sealing = _each_us(partial(seal, 7, details))
        opening = _each_us(partial(unseal, row, keys))
        figures += [
            (f"seal a row, {name}", f"{sealing:.1f} us"),
            (f"open a row, {name}", f"{opening:.1f} us"),
        ]
    return [*figures, ("a sealed row", f"{len(seal(7, replace(DETAILS, keys=(one,))).sealed)} B")]


def _each_us(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(5):
        begun = perf_counter()
        for _ in range(TIMES // 5):
            work()
        best = min(best, (perf_counter() - begun) / (TIMES // 5) * 1e6)
    return best


async def _of_keys(desk: Desk, signer: DataKeyServer) -> Figures:
    subjects = [f"new-{number}" for number in range(BATCH)]
    made, keys_s = await _timed(lambda: desk.keys.of_subjects(subjects, 60))
    ids = [key.id for key in made.values() if isinstance(key, SubjectKey)]
    async with signer.channel("projector") as channel:
        strange = DataKeys(channel, desk.core.clock)
        await strange.by_ids(ids[:1], 60)
        _, unwrap_s = await _timed(lambda: strange.by_ids(ids, 60))
        _, kept_s = await _timed(lambda: strange.by_ids(ids, 60))
    return [
        (f"{BATCH} keys made, in one call", f"{keys_s * 1e3:.1f} ms"),
        (f"{BATCH} keys unwrapped, in one call", f"{unwrap_s * 1e3:.1f} ms"),
        (f"{BATCH} keys that are kept", f"{kept_s * 1e3:.2f} ms"),
    ]


async def _timed(work: Callable[[], Awaitable[T]]) -> tuple[T, float]:
    begun = perf_counter()
    result = await work()
    return result, perf_counter() - begun


async def _of_bulk(desk: Desk, rounds: int) -> Figures:
    pairs: list[tuple[AccountId, AccountId]] = []
    while len(pairs) < PAIRS:
        ids = await desk.core.open(200, balance=1_000_000, owner=f"owner-{len(pairs)}")
        pairs += list(zip(ids[1::2], ids[2::2], strict=True))
    kinds: dict[str, Callable[[], Sequence[TransferCommand]]] = {
        "without details, to the engine alone": lambda: _requests(pairs, None),
        "without details": lambda: _requests(pairs, None),
        "with details, one key a row": lambda: _requests(pairs, replace(DETAILS, user_id="")),
        "with details, two keys a row": lambda: _requests(pairs, DETAILS),
    }
    took: dict[str, list[float]] = {name: [] for name in kinds}
    far_s = desk.core.clock.monotonic_s() + 3_600
    for number in range(rounds + 1):
        for name, make in kinds.items():
            commands = make()
            alone = name.endswith("alone")
            submit = desk.core.engine.submit if alone else desk.posting.submit
            begun = perf_counter()
            outcomes = await submit(commands, far_s)
            if number:
                # The first round finds no key kept and nothing warm.
                took[name].append(perf_counter() - begun)
            assert all(isinstance(outcome, Posted) for outcome in outcomes)
    return [
        (f"bulk of {BATCH} {name}", f"{BATCH / statistics.median(times):,.0f}/s (median)")
        for name, times in took.items()
    ]


def _requests(
    pairs: Sequence[tuple[AccountId, AccountId]], details: Details | None
) -> list[TransferCommand]:
    described: dict[str, Any] = (
        {} if details is None else {"details": details, "details_hash": bytes(16)}
    )
    return [payment(*pairs[number % len(pairs)], 1, **described) for number in range(BATCH)]


if __name__ == "__main__":
    app()
