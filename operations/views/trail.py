"""The trail of security as people read it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from operations.traces import Traced
from operations.trail import TrailEntry, TrailPage
from operations.views.as_is import in_markup

UNSEARCHED = (
    "sealed devices and addresses were not searched: that takes the trail's key,"
    " PAYCORE_TRAIL_KEY_FILE"
)

_GRAVE = ("DENIED", "FAILED", "LOCKED", "REFUSED", "TRIPPED", "INCORRECT")


def trail_view(page: TrailPage) -> RenderableType:
    """One line an entry, how to see more, and what was not looked at."""
    shown: list[RenderableType] = [
        _table(page.entries) if page.entries else "nothing of that kind happened"
    ]
    if page.next_page_token:
        shown.append(f"[dim]more: --page-token {page.next_page_token}[/]")
    if not page.sealed_searched:
        shown.append(f"[yellow]{UNSEARCHED}[/]")
    return Group(*shown)


def _table(entries: Sequence[TrailEntry]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("time (UTC)", "event", "times", "by", "user", "device", "address", "what"):
        table.add_column(
            column,
            justify="right" if column == "times" else "left",
            no_wrap=column != "what",
            overflow="fold",
        )
    for entry in entries:
        colour = "red" if entry.event.endswith(_GRAVE) else "default"
        table.add_row(
            f"{entry.time:%Y-%m-%d %H:%M:%S}",
            f"[{colour}]{in_markup(entry.event)}[/]",
            str(entry.count),
            in_markup(entry.client or "nobody"),
            in_markup(entry.user or ""),
            _traced(entry, entry.device, entry.device_hint),
            _traced(entry, entry.address, entry.address_hint),
            in_markup(_what(entry)),
        )
    return table


def _traced(entry: TrailEntry, known: str | None, hint: str | None) -> str:
    """A device or an address of a person: as it is, or what is left to show of it."""
    match entry.traced:
        case Traced.ERASED:
            return in_markup(known or "") or "[dim]erased[/]"
        case Traced.SEALED | Traced.HINTED | Traced.BROKEN if hint is not None:
            return f"[dim]#{in_markup(hint)}[/]"
        case _:
            return in_markup(known or "")


def _what(entry: TrailEntry) -> str:
    """To what it happened, how, and why."""
    changed = ""
    if entry.before is not None and entry.after is not None:
        changed = ", ".join(
            f"{name}: {entry.before[name]} → {value}"
            for name, value in entry.after.items()
            if name in entry.before and entry.before[name] != value
        )
    method = None if entry.method is None else entry.method.rpartition(".")[2]
    return "; ".join(part for part in (entry.subject, method, changed, entry.reason) if part)
