"""What a person sees of a stack: progress while it starts, then its endpoints, then news."""

import threading
from collections.abc import Collection, Mapping

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.progress import TimeElapsedColumn as ElapsedColumn
from rich.table import Table

from deploy.local.endpoints import Endpoints
from deploy.local.events import PartState
from deploy.local.record import StackRecord

STYLES: Mapping[PartState, str] = {
    PartState.WAITING: "dim",
    PartState.PREPARING: "cyan",
    PartState.STARTING: "cyan",
    PartState.READY: "green",
    PartState.RESTARTING: "bold yellow",
    PartState.STOPPING: "cyan",
    PartState.STOPPED: "dim",
    PartState.FAILED: "bold red",
}
SETTLED = frozenset({PartState.READY, PartState.STOPPED, PartState.FAILED})


class TerminalObserver:
    """Draws one line a part, and a bar under it for what takes long. Thread-safe.

    Where the console is no terminal it prints one line for each part that settled.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._parts = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description:<14}"),
            TextColumn("{task.fields[state]}"),
            ElapsedColumn(),
            TextColumn("[dim]{task.fields[detail]}"),
            console=console,
        )
        self._bytes = Progress(
            TextColumn("  {task.description:<28}"),
            BarColumn(),
            DownloadColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._bars: dict[tuple[str, str], TaskID] = {}
        self._live: Live | None = None

    def __enter__(self) -> "TerminalObserver":
        """Begin to draw; what comes before or after is printed line by line."""
        if self._console.is_terminal:
            table = Table.grid()
            table.add_row(self._parts)
            table.add_row(self._bytes)
            self._live = Live(table, console=self._console, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            live, self._live = self._live, None
            self._tasks.clear()
            self._bars.clear()
        if live is not None:
            live.stop()
        for progress in (self._parts, self._bytes):
            for task in progress.task_ids:
                progress.remove_task(task)

    def state(self, part: str, state: PartState, detail: str) -> None:
        shown = f"[{STYLES[state]}]{state}[/]"
        with self._lock:
            if self._live is None:
                if state in SETTLED or state is PartState.RESTARTING:
                    self._console.print(f"{part:<14} {shown} [dim]{detail}")
                return
            task = self._tasks.get(part)
            if task is None:
                task = self._parts.add_task(part, total=1, state=shown, detail=detail)
                self._tasks[part] = task
            completed = 1 if state in SETTLED else 0
            self._parts.update(task, completed=completed, state=shown, detail=detail)

    def progress(self, part: str, what: str, done: int, total: int) -> None:
        with self._lock:
            if self._live is None:
                return
            bar = self._bars.get((part, what))
            if bar is None:
                bar = self._bytes.add_task(f"{what} {part}", total=total)
                self._bars[part, what] = bar
            self._bytes.update(bar, completed=done, visible=done < total)

    def warning(self, text: str) -> None:
        self._console.print(f"[bold yellow]! {text}", highlight=False)


def endpoint_table(endpoints: Endpoints, parts: Collection[str]) -> Table:
    """Return a table of the addresses of `parts`; secrets are left to `stack.json`."""
    table = Table(title=f"paycore, local stack in {endpoints.state}", title_justify="left")
    table.add_column("part")
    table.add_column("address", no_wrap=True)
    table.add_column("access")
    table.add_column("metrics", no_wrap=True)
    for service, urls in endpoints.metrics_urls.items():
        if service in parts:
            table.add_row(service, endpoints.target(service), "gRPC, mTLS", "\n".join(urls))
    for store, url in (
        ("postgres", endpoints.postgres_admin_dsn),
        ("replica", endpoints.replica_admin_dsn),
        ("redis", endpoints.redis_url),
        ("elasticsearch", endpoints.elasticsearch_url),
    ):
        if url is None:
            continue
        table.add_row(store, _place(url), "password" if store in parts else "runs elsewhere", "")
    return table


def status_table(record: StackRecord) -> Table:
    """Return a table of the parts as last recorded."""
    table = Table(title=f"stack: {record.phase}", title_justify="left")
    for column in ("part", "state", "pid", "restarts", "log"):
        table.add_column(column)
    for name, part in record.parts.items():
        pid = str(part.process.pid) if part.process and part.process.is_alive() else "-"
        state = f"[{STYLES[part.state]}]{part.state}[/]"
        table.add_row(name, state, pid, str(part.restarts), str(part.log))
    return table


def _place(url: str) -> str:
    """Return host and port of a URL, without the user and the password in it."""
    return url.partition("://")[2].rpartition("@")[2].partition("/")[0]
