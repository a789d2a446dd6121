"""`python -m tests.bench`: measure, print tables, write JSON."""

from __future__ import annotations

import asyncio
import datetime
import json
import random
import shlex
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from deploy.local import ALL_PARTS, LocalStack, LogObserver, PartState, StackError
from tests.bench import machine
from tests.bench.bed import READ_SIDE, open_bed
from tests.bench.document import save_section
from tests.bench.errors import BenchError
from tests.bench.generators import choose_generator
from tests.bench.profile import profile
from tests.bench.report import Report, markdown, show, to_json
from tests.bench.sizes import FULL, QUICK, Sizes
from tests.bench.suite import NEED_READ_SIDE, Section, Suite, Tell

RESULTS = Path(".build") / "bench-results.json"
DOCUMENT = machine.ROOT / "docs" / "performance.md"
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
# Wide enough for the tables where the output is a file.
WIDTH = None if sys.stdout.isatty() else 180
console = Console(width=WIDTH)
errors = Console(stderr=True)


class _Watcher(LogObserver):
    """Shows the stack's start, and at once what went wrong in it."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def state(self, part: str, state: PartState, detail: str) -> None:
        self._tell(f"stack: {part} {state} {detail}")

    def warning(self, text: str) -> None:
        errors.print(text, style="yellow", highlight=False, markup=False)


@app.command()
def bench(
    only: Annotated[
        list[Section] | None,
        typer.Option(help="Measure this section only; repeat for several. bulk includes raw."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="One short repetition of each: about two minutes.")
    ] = False,
    repetitions: Annotated[
        int | None, typer.Option(min=1, max=20, help="How often each is measured.")
    ] = None,
    transfers: Annotated[
        int | None,
        typer.Option(min=10_000, max=20_000_000, help="Transfers in the history when it is paged."),
    ] = None,
    memory: Annotated[
        int | None,
        typer.Option(min=10_000, max=100_000_000, help="Transfers while memory is watched."),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, max=64, help="Processes of the command service.")
    ] = 2,
    profiled: Annotated[
        bool, typer.Option("--profile", help="Also show where a command worker's time goes.")
    ] = False,
    results: Annotated[Path, typer.Option("--json", help="Where to write the figures.")] = RESULTS,
    save: Annotated[
        bool, typer.Option("--save", help="Also write the figures into docs/performance.md.")
    ] = False,
    alone: Annotated[
        bool,
        typer.Option(
            "--alone",
            help="Without the read side: all but projection and pages.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the random accounts, amounts and keys.")] = 1,
) -> None:
    """Measure paycore on this machine, as shares of what its database and its server stack can do.

    Starts a local stack of its own in a temporary folder, durable as always, warms each measurement
    up, repeats it, and prints medians with their spread. The load generator runs on the same cores.
    Unary load comes from ghz where it is installed; see deploy/ghz.
    """
    sizes = QUICK if quick else FULL
    if repetitions is not None:
        sizes = replace(sizes, repetitions=repetitions)
    if transfers is not None:
        sizes = replace(sizes, history=transfers)
    if memory is not None:
        sizes = replace(sizes, memory=memory)
    sections = only or [one for one in Section if not alone or one not in NEED_READ_SIDE]
    if alone and NEED_READ_SIDE & set(sections):
        raise typer.BadParameter("projection and pages need what --alone leaves out")
    # As Ctrl-C: what was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    command = shlex.join(["python", "-m", "tests.bench", *sys.argv[1:]])
    try:
        report = _measure(command, sizes, sections, alone, processes, profiled, seed)
    except (BenchError, StackError) as error:
        errors.print(str(error), style="red", highlight=False, markup=False)
        raise typer.Exit(EXIT_FAILED) from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        errors.print("interrupted: stack and files are gone")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    show(report, console)
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps(to_json(report), indent=2, ensure_ascii=False) + "\n")
    console.print(f"written: {results}")
    if any(row.failed for row in report.rows):
        errors.print("not everything could be measured; see the notes", style="red")
        raise typer.Exit(EXIT_FAILED)
    if save:
        save_section(DOCUMENT, markdown(report))
        console.print(f"written: {DOCUMENT}")


def _measure(
    command: str,
    sizes: Sizes,
    sections: list[Section],
    alone: bool,
    processes: int,
    profiled: bool,
    seed: int,
) -> Report:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="paycore-bench-") as folder,
        Progress(*columns, console=errors, transient=True) as progress,
    ):
        task = progress.add_task("starting the stack")

        def tell(text: str) -> None:
            progress.update(task, description=text)
            if not errors.is_terminal:
                errors.print(text, highlight=False, markup=False)

        # The stores run as another user when this runs as root, and must reach their folders.
        Path(folder).chmod(0o755)
        stack = LocalStack(
            Path(folder) / "state",
            processes=processes,
            parts=ALL_PARTS - set(READ_SIDE) if alone else ALL_PARTS,
            observer=_Watcher(tell),
        )
        with stack:
            return uvloop.run(
                _on(stack, command, sizes, sections, processes, profiled, seed, Path(folder), tell)
            )


async def _on(
    stack: LocalStack,
    command: str,
    sizes: Sizes,
    sections: list[Section],
    processes: int,
    profiled: bool,
    seed: int,
    folder: Path,
    tell: Tell,
) -> Report:
    measuring = asyncio.current_task()
    assert measuring is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, measuring.cancel)
    began = datetime.datetime.now(datetime.UTC)
    about = await machine.describe(stack.endpoints, stack.parts)
    tell("opening and funding accounts")
    async with open_bed(stack, sizes, processes, folder, random.Random(seed)) as bed:
        generator = choose_generator(bed.tls, folder)
        rows = await Suite(bed, generator, sections, tell).run()
        profiles = []
        if profiled:
            tell("profiling a command worker")
            profiles = await profile(bed, generator)
        ended = datetime.datetime.now(datetime.UTC)
        return Report(
            command,
            f"{ended:%Y-%m-%d %H:%M} UTC",
            about,
            {
                "command processes": str(processes),
                "unary load by": generator.description,
                "accounts": f"{sizes.accounts:,}",
                "repetitions": str(sizes.repetitions),
                "transfers in the ledger at the end": f"{await bed.ledger_size():,}",
                "run time": f"{(ended - began).total_seconds() / 60:.1f} minutes",
            },
            rows,
            profiles,
        )


if __name__ == "__main__":
    app()
