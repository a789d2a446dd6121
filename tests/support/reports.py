"""Tables and lines of a run as a person reads them: on the screen, and in a page of docs/proof."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.console import Console
from rich.table import Table

Rows = Iterator[Sequence[str]]
"""Of one table; the first is its head, and the first column what a row is about."""

Tables = Iterable[tuple[str, Rows]]
"""By title."""


def show(console: Console, tables: Tables, lines: Iterable[str]) -> None:
    """Print the tables, then the lines."""
    for title, rows in tables:
        head, *body = rows
        table = Table(head[0], title=title, pad_edge=False)
        for name in head[1:]:
            table.add_column(name, justify="right", no_wrap=True)
        for row in body:
            table.add_row(*row)
        console.print(table)
    console.print(*lines, sep="\n", markup=False)


def as_markdown(
    command: str, machine: Mapping[str, str], lines: Iterable[str], tables: Tables
) -> str:
    """The generated part of a page: what `command` gave today, on which machine."""
    today = datetime.datetime.now(datetime.UTC).date()
    parts = [
        f"`{command}` on {today}.",
        "\n".join(f"- {name}: {value}" for name, value in machine.items()),
        "\n".join(f"- {line}" for line in lines),
    ]
    for title, rows in tables:
        head, *body = rows
        dashes = ["---", *["---:"] * (len(head) - 1)]
        rendered = ["| " + " | ".join(row) + " |" for row in (head, dashes, *body)]
        parts.append(f"### {title[:1].upper()}{title[1:]}\n\n" + "\n".join(rendered))
    return "\n\n".join(parts)
