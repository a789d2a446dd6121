"""`python -m tests.bench.keys`: measure, print a table, write JSON."""

from __future__ import annotations

import asyncio
import datetime
import json
import random
import shlex
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from deploy.local import DATABASE, Endpoints, LocalStack, StackError
from deploy.local.endpoints import with_place
from tests.bench import machine
from tests.bench.document import save_section
from tests.bench.errors import BenchError
from tests.bench.keys.layouts import Layout, prepare
from tests.bench.keys.measure import BATCH, IN_FLIGHT, Advance, Run
from tests.bench.keys.report import Report, markdown, show, to_json
from tests.bench.keys.shapes import CLIENTS, Keys, Shape
from tests.bench.keys.store import KeyTable

RESULTS = Path(".build") / "keys-results.json"
DOCUMENT = machine.ROOT / "docs" / "performance.md"
SECTION = "keys"
PARTS = frozenset({"postgres"})
COMPARED = (Layout.SINGLE, Layout.HASH16, Layout.DIGEST, Layout.LOCATOR)
LEAST_ROWS = 20_000
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
# Wide enough for the table where the output is a file.
console = Console(width=None if sys.stdout.isatty() else 240)
errors = Console(stderr=True)


@app.command()
def keys(
    rows: Annotated[
        int, typer.Option(min=LEAST_ROWS, help="Keys in each table in the end.")
    ] = 20_000_000,
    layouts: Annotated[
        list[Layout] | None, typer.Option(help="This layout only; repeat for several.")
    ] = None,
    shapes: Annotated[
        list[Shape] | None, typer.Option(help="This shape of key only; repeat for several.")
    ] = None,
    results: Annotated[Path, typer.Option("--json", help="Where to write the figures.")] = RESULTS,
    save: Annotated[
        bool, typer.Option("--save", help="Also write the figures into docs/performance.md.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the keys that are measured.")] = 1,
) -> None:
    """Measure how ways to keep idempotency keys unique behave as the table grows.

    Starts a PostgreSQL of its own in a temporary folder, with the local stack's settings. Each
    table's first and last 5% go in as posting writes them; what lies between goes in quickly. A
    table of 20 million keys takes 4 to 7 GB of disk, and the tables lie beside each other.
    """
    # As Ctrl-C: what was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    command = shlex.join(["python", "-m", "tests.bench.keys", *sys.argv[1:]])
    try:
        report = _measure(command, rows, layouts or COMPARED, shapes or tuple(Shape), seed)
    except (BenchError, StackError) as error:
        errors.print(str(error), style="red", highlight=False, markup=False)
        raise typer.Exit(EXIT_FAILED) from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        errors.print("interrupted: server and files are gone")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    show(report, console)
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps(to_json(report), indent=2, ensure_ascii=False) + "\n")
    console.print(f"written: {results}")
    if save:
        save_section(DOCUMENT, markdown(report), SECTION)
        console.print(f"written: {DOCUMENT}")


def _measure(
    command: str, rows: int, layouts: Sequence[Layout], shapes: Sequence[Shape], seed: int
) -> Report:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with (
        tempfile.TemporaryDirectory(prefix="paycore-keys-") as folder,
        Progress(*columns, console=errors) as progress,
    ):
        task = progress.add_task("starting PostgreSQL", total=rows * len(layouts) * len(shapes))

        def advance(text: str, stored: int) -> None:
            progress.update(task, description=text, advance=stored)
            if not errors.is_terminal:
                done = progress.tasks[0].percentage
                errors.print(f"{done:5.1f}% {text}", highlight=False, markup=False)

        # The server runs as another user when this runs as root, and must reach its folder.
        Path(folder).chmod(0o755)
        with LocalStack(Path(folder) / "state", parts=PARTS, schema=True) as stack:
            return uvloop.run(_on(stack.endpoints, command, rows, layouts, shapes, seed, advance))


async def _on(
    endpoints: Endpoints,
    command: str,
    rows: int,
    layouts: Sequence[Layout],
    shapes: Sequence[Shape],
    seed: int,
    advance: Advance,
) -> Report:
    measuring = asyncio.current_task()
    assert measuring is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, measuring.cancel)
    began = datetime.datetime.now(datetime.UTC)
    about = await machine.describe(endpoints, PARTS)
    dsn = with_place(endpoints.postgres_admin_dsn, database=DATABASE)
    await prepare(dsn)
    tables = [
        (KeyTable(layout, shape, rows), Keys(shape, random.Random(f"{seed} {shape}")))
        for shape in shapes
        for layout in layouts
    ]
    run = Run(dsn, rows, advance)
    measured = await run.measure(tables)
    ended = datetime.datetime.now(datetime.UTC)
    facts = {
        name: about[name]
        for name in ("cores", "memory", "load before", "kernel", "asyncpg", "PostgreSQL", "commit")
    }
    facts["rows of each table"] = f"{rows:,}, of {CLIENTS} clients"
    facts["measured"] = f"the first and the last {run.measured:,}, {BATCH} a batch"
    facts["batches in flight"] = str(IN_FLIGHT)
    facts["run time"] = f"{(ended - began).total_seconds() / 60:.1f} minutes"
    return Report(command, f"{ended:%Y-%m-%d %H:%M} UTC", facts, measured)


if __name__ == "__main__":
    app()
