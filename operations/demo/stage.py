"""The demo's narration: what was asked, what was seen, and whether that is as it should be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from operations.errors import UnavailableError, UsageError
from paycore.client.errors import ClientError, RefusedError


class MissedError(Exception):
    """What was seen is not what must be seen."""


def expect(condition: bool, otherwise: str) -> None:
    """Raise MissedError with `otherwise` unless `condition` holds."""
    if not condition:
        raise MissedError(otherwise)


FAILURES = (MissedError, ClientError, ValueError, UnavailableError, UsageError)

UNTOLD = frozenset({"position"})
"""Metadata that programs need and people do not."""


@dataclass(frozen=True, slots=True)
class Act:
    """One thing shown, and what came of it."""

    title: str
    held: bool
    note: str


class Stage:
    """Plays acts one after the other; an act that fails does not keep the next from being seen."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.acts: list[Act] = []

    @property
    def held(self) -> bool:
        return bool(self.acts) and all(act.held for act in self.acts)

    async def play(self, title: str, act: Callable[[], Awaitable[str]]) -> bool:
        """Run `act`, which returns a note for the summary; returns whether it held."""
        number = len(self.acts) + 1
        self.console.print()
        self.console.print(f"[bold blue]{number}. {title}[/]")
        try:
            note = await act()
            held = True
        except FAILURES as error:
            note, held = str(error), False
            self.console.print(f"   [bold red]✗ {escape(note)}[/]")
        self.acts.append(Act(title, held, note))
        return held

    def asked(self, text: str) -> None:
        """Tell what the caller asks for."""
        self.console.print(f"   [dim]asked[/]  {text}")

    def saw(self, text: str) -> None:
        """Tell what the caller saw."""
        self.console.print(f"   [dim]saw[/]    {text}")

    def saw_refusal(self, error: RefusedError) -> None:
        """Tell a refusal as the caller's program has it: class, reason and figures."""
        self.saw(f"[yellow]{type(error).__name__}[/], reason {error.reason}")
        figures = [
            f"{name}={value}"
            for name, value in sorted(error.metadata.items())
            if name not in UNTOLD
        ]
        if figures:
            self.console.print(Padding(f"[dim]{escape(', '.join(figures))}[/]", (0, 0, 0, 10)))

    def show(self, what: RenderableType) -> None:
        """Show a table or a chart, set in a little."""
        indented = Table.grid(padding=(0, 0, 0, 3))
        indented.add_row("", what)
        self.console.print(indented)

    def summary(self) -> Table:
        """A line for each act."""
        table = Table(title="summary", title_justify="left", title_style="bold", box=None)
        table.show_header = False
        table.padding = (0, 2, 0, 0)
        for act in self.acts:
            mark = "[green]✓[/]" if act.held else "[bold red]✗[/]"
            style = "" if act.held else "red"
            table.add_row(mark, act.title, f"[{style or 'dim'}]{escape(act.note)}[/]")
        return table
