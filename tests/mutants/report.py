"""What a person wants to know of a run: on the screen, and in docs/proof/mutants.md."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console

from tests.bench.document import save_section
from tests.bench.machine import ROOT, commit, hardware
from tests.mutants.changes import Change, End, Judged
from tests.mutants.reasons import Reason, Reasons
from tests.support.reports import Rows, show

DOCUMENT = ROOT / "docs" / "proof" / "mutants.md"

_HEAD = ("module", "changes", "seen", "too long", "live", "score")


@dataclass(frozen=True, slots=True)
class Run:
    """What a run over one part gave, held against the reasons."""

    part: str
    verdicts: Mapping[Change, Judged]
    reasons: Reasons
    arguments: str = ""
    """Of make, beside the part."""
    notes: Sequence[str] = ()
    """How it was run, an item of a list each."""

    @property
    def living(self) -> list[Change]:
        """What no test saw, in order."""
        return sorted(change for change, judged in self.verdicts.items() if judged.lives)

    @property
    def unexplained(self) -> list[Change]:
        """What lives without a reason."""
        return [change for change in self.living if change not in self.reasons.by_change]

    @property
    def outdated(self) -> list[Change]:
        """What has a reason, in a module that was judged, and does not live."""
        modules = {_module(change) for change in self.verdicts}
        living = frozenset(self.living)
        return sorted(
            change
            for change in self.reasons.by_change
            if _module(change) in modules and change not in living
        )


def show_run(run: Run, console: Console) -> None:
    """Print the table, and what stands between the run and its end with 0."""
    show(console, [(f"changes of {run.part}", _rows(run))], ())
    for title, changes in (
        ("LIVES WITHOUT A REASON", run.unexplained),
        ("HAS A REASON, BUT DOES NOT LIVE", run.outdated),
    ):
        for change in changes:
            console.print(
                f"{title}: {change.where}{_nth(change)}\n{_indented('-', change.was)}\n"
                f"{_indented('+', change.now)}",
                markup=False,
                highlight=False,
            )


def save_run(run: Run) -> None:
    """Put it into DOCUMENT, in the section of its part."""
    save_section(DOCUMENT, as_markdown(run), section(run.part))


def section(part: str) -> str:
    """Name of the generated section of `part`."""
    return f"mutants PART={part}"


def as_markdown(run: Run) -> str:
    """The generated section: the score by module, and what lives by the reason."""
    today = datetime.datetime.now(datetime.UTC).date()
    head, *body = _rows(run)
    rounds: dict[str, int] = defaultdict(int)
    for judged in run.verdicts.values():
        if not judged.lives:
            rounds[judged.round] += 1
    parts = [
        f"`make {section(run.part)} SAVE=1{run.arguments}` on {today}.",
        "\n".join(
            (
                f"- commit: {commit()}",
                *(f"- {name}: {value}" for name, value in hardware().items()),
                *(f"- seen by {by}: {count}" for by, count in rounds.items()),
                *run.notes,
            )
        ),
        "\n".join(
            "| " + " | ".join(row) + " |"
            for row in (head, ["---", *["---:"] * (len(head) - 1)], *body)
        ),
        *_living(run),
    ]
    return "\n\n".join(parts)


def _rows(run: Run) -> Rows:
    yield _HEAD
    by_module: dict[str, list[Judged]] = defaultdict(list)
    for change, judged in run.verdicts.items():
        by_module[change.module].append(judged)
    for module, verdicts in sorted(by_module.items()):
        yield _row(module, verdicts)
    yield _row("all", list(run.verdicts.values()))


def _row(name: str, verdicts: Sequence[Judged]) -> Sequence[str]:
    ends = [judged.end for judged in verdicts]
    living = sum(judged.lives for judged in verdicts)
    score = f"{100 * (len(ends) - living) / len(ends):.1f} %"
    counts = (len(ends), ends.count(End.SEEN), ends.count(End.TOO_LONG), living)
    return (name, *map(str, counts), score)


def _living(run: Run) -> Iterator[str]:
    groups: dict[str, list[tuple[Change, Reason]]] = defaultdict(list)
    for change in run.living:
        reason = run.reasons.by_change.get(change)
        if reason is not None:
            groups[reason.group].append((change, reason))
    for group, said in run.reasons.groups.items():
        if group not in groups:
            continue
        yield f"### {group.capitalize()}: {len(groups[group])}\n\n{said}"
        yield "\n".join(_item(change, reason) for change, reason in groups[group])


def _item(change: Change, reason: Reason) -> str:
    place = f"`{change.module}.{change.function}`{_nth(change)}"
    because = f" {reason.because}" if reason.because else ""
    return f"- {place}: {_code(change.was)} becomes {_code(change.now)}.{because}"


def _code(lines: str) -> str:
    # One line, in marks that no line of ours holds.
    return f"``{' '.join(lines.splitlines())}``" if lines else "nothing"


def _nth(change: Change) -> str:
    return f" ({change.nth})" if change.nth != 1 else ""


def _indented(sign: str, lines: str) -> str:
    return "\n".join(f"  {sign} {line}" for line in lines.splitlines())


def _module(change: Change) -> str:
    return change.where.rsplit(".", change.function.count(".") + 1)[0]
