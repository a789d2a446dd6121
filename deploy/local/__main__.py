"""`python -m deploy.local`: run, look at and stop a local stack."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT, SIGTERM
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from deploy.local.display import TerminalObserver, endpoint_table, status_table
from deploy.local.errors import StackError, StateInUseError
from deploy.local.files import tail
from deploy.local.record import Phase, endpoints_from, read_record
from deploy.local.services import CHECKOUT
from deploy.local.settings import StackSettings
from deploy.local.state import STATE_VARIABLE, StateFolder, default_state
from deploy.local.supervisor import ALL_PARTS, REPLICA, LocalStack

EXIT_FAILED = 1
EXIT_IN_USE = 3
EXIT_NOT_RUNNING = 4

POLL_INTERVAL_S = 0.2
DETACHED_START_TIMEOUT_S = 1200.0
STOP_TIMEOUT_S = 90.0

app = typer.Typer(
    help="The local stack: PostgreSQL, Redis, Elasticsearch and the four services, real and"
    " on this machine. No container engine, no installed database, root or not.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
console = Console()
errors = Console(stderr=True)

StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state",
        help="Folder of the stack's data, keys, certificates and logs.",
        envvar=STATE_VARIABLE,
        show_default=".paycore",
    ),
]


@app.command()
def up(
    state: StateOption = None,
    processes: Annotated[
        int, typer.Option(min=1, max=64, help="Processes of the command service, on one port.")
    ] = 2,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            help=f"Run this part only; repeat for several: {', '.join(sorted(ALL_PARTS))}.",
        ),
    ] = None,
    replica: Annotated[
        bool,
        typer.Option("--replica", help="A replica of PostgreSQL too, from which queries read."),
    ] = False,
    detach: Annotated[
        bool,
        typer.Option(
            "--detach/--no-detach",
            help="Return once all is ready and leave the stack running; end it with `down`.",
        ),
    ] = False,
) -> None:
    """Start the stack and keep it up until Ctrl-C.

    The first start fetches Elasticsearch (96 MB) and makes certificates, passwords and an
    empty database; later ones take seconds and find the data as it was left. Parts that die
    are started again, and said so. Servers that run already are used instead of embedded ones
    where PAYCORE_STACK_POSTGRES_DSN, PAYCORE_STACK_REDIS_URL or
    PAYCORE_STACK_ELASTICSEARCH_URL (with _USER and _PASSWORD) name them.
    """
    folder = state or default_state()
    if detach:
        _detach(folder, processes, only or [], replica=replica)
        return
    observer = TerminalObserver(console)
    try:
        stack = LocalStack(
            folder,
            processes=processes,
            parts={*(only or ALL_PARTS), *((REPLICA,) if replica else ())},
            settings=StackSettings(),
            observer=observer,
        )
        _run(stack, observer)
    except StackError as error:
        errors.print(str(error), style="red", highlight=False, markup=False)
        raise typer.Exit(
            EXIT_IN_USE if isinstance(error, StateInUseError) else EXIT_FAILED
        ) from None


@app.command()
def down(state: StateOption = None) -> None:
    """Stop the stack that another process runs in this folder."""
    folder = state or default_state()
    supervisor = read_record(StateFolder(folder).stack_file).supervisor
    if supervisor is None or not supervisor.is_alive():
        errors.print(f"no stack runs in {folder}")
        raise typer.Exit(EXIT_NOT_RUNNING)
    supervisor.send(SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while supervisor.is_alive():
        if time.monotonic() > deadline:
            errors.print(f"process {supervisor.pid} has not ended after {STOP_TIMEOUT_S:g} s")
            raise typer.Exit(EXIT_FAILED)
        time.sleep(POLL_INTERVAL_S)
    console.print("stopped")


@app.command()
def status(
    state: StateOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record as JSON.")] = False,
) -> None:
    """Show the parts, their states and restarts. Exit code 4 where no stack runs."""
    folder = state or default_state()
    record = read_record(StateFolder(folder).stack_file)
    if as_json:
        # Endpoints hold passwords; who needs them reads stack.json.
        content = record.model_dump(mode="json", exclude={"endpoints"})
        console.print_json(json.dumps(content))
    else:
        console.print(status_table(record))
        if record.endpoints is not None and record.is_run_by_a_living_process():
            console.print(
                endpoint_table(endpoints_from(record.endpoints, folder), tuple(record.parts))
            )
    if not record.is_run_by_a_living_process():
        raise typer.Exit(EXIT_NOT_RUNNING)


def _run(stack: LocalStack, observer: TerminalObserver) -> None:
    """Start, wait for a signal, stop. A second signal while stopping changes nothing."""
    with _interrupted_by_signals():
        try:
            began = time.monotonic()
            with observer:
                stack.start()
            console.print(endpoint_table(stack.endpoints, stack.parts))
            console.print(f"ready after {time.monotonic() - began:.1f} s; Ctrl-C stops it")
            threading.Event().wait()
        except _Interrupted:
            console.print("stopping")
            with observer:
                stack.stop()


class _Interrupted(BaseException):
    """A signal to end came; not an Exception, so nothing on the way takes it for a failure."""


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Raise _Interrupted at the first SIGINT or SIGTERM, and at no later one."""
    came = False

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        nonlocal came
        if not came:
            came = True
            raise _Interrupted

    earlier = {number: signal.signal(number, on_signal) for number in (SIGINT, SIGTERM)}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _detach(folder: Path, processes: int, only: list[str], *, replica: bool) -> None:
    """Run `up` in a process of its own and wait until its stack is ready."""
    place = StateFolder(folder.resolve())
    place.create()
    record = read_record(place.stack_file)
    if record.is_run_by_a_living_process():
        assert record.supervisor is not None
        errors.print(str(StateInUseError(place.root, record.supervisor.pid)), style="red")
        raise typer.Exit(EXIT_IN_USE)
    log = place.log("supervisor")
    arguments = ["up", "--state", str(place.root), "--processes", str(processes)]
    if replica:
        arguments.append("--replica")
    for part in only:
        arguments += ["--only", part]
    with log.open("ab") as output:
        child = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "deploy.local", *arguments],
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + DETACHED_START_TIMEOUT_S
    with console.status(f"starting (log {log})"):
        while time.monotonic() < deadline:
            if child.poll() is not None:
                errors.print(tail(log), markup=False, highlight=False)
                raise typer.Exit(EXIT_FAILED)
            record = read_record(place.stack_file)
            ours = record.supervisor is not None and record.supervisor.pid == child.pid
            if ours and record.phase is Phase.READY and record.endpoints is not None:
                endpoints = endpoints_from(record.endpoints, place.root)
                console.print(endpoint_table(endpoints, tuple(record.parts)))
                console.print(f"running as process {child.pid}; `down` stops it")
                return
            time.sleep(POLL_INTERVAL_S)
    child.terminate()
    errors.print(f"not ready after {DETACHED_START_TIMEOUT_S:g} s, see {log}")
    raise typer.Exit(EXIT_FAILED)


if __name__ == "__main__":
    app()
