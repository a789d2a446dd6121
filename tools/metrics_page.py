"""Write docs/metrics.md from the code and the alert rules: `make metrics-page`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from paycore.domain.errors import Reason
from paycore.runtime.metric_definitions import Definition, Named, Values, of
from tools.metrics import PROCESSES, ROOT, Alert, alerts, definitions

PAGE = ROOT / "docs" / "metrics.md"
MARK = "<!-- From here on written by `make metrics-page`. -->"

TITLES: Mapping[str, str] = {
    "command": "Command service",
    "signing": "Signing service",
    "projector": "Projector",
    "query": "Query service",
    "verify": "`paycore verify --metrics FOLDER`",
}
_REASONS = of(Reason)


def generated() -> str:
    """The part of the page below MARK."""
    of_process = {process: definitions(process) for process in PROCESSES}
    rules = alerts()
    everything = {name: one for found in of_process.values() for name, one in found.items()}
    homes = {
        name: [process for process, found in of_process.items() if name in found]
        for name in sorted(everything)
    }
    shared = [name for name, where in homes.items() if len(where) > 1]
    lines = ["## In several processes", "", *_head(where=True)]
    lines += [_row(everything[name], rules, homes[name]) for name in shared]
    for process, title in TITLES.items():
        own = [everything[name] for name, where in homes.items() if where == [process]]
        lines += ["", f"## {title}", "", *_head(), *(_row(one, rules) for one in own)]
    lines += ["", "## Reasons", "", "A *reason* is one of " + _listed(_REASONS) + "."]
    lines += ["", *_alerts(rules)]
    return "\n".join(lines) + "\n"


def uses(expression: str, name: str) -> bool:
    """Whether `expression` asks for the metric `name`, or a part of that histogram."""
    return name in names(expression)


def names(expression: str) -> set[str]:
    """The metrics of paycore that `expression` asks for, histograms by the name of the whole."""
    found = {token for token in _tokens(expression) if token.startswith("paycore_")}
    return {_whole(name) for name in found}


def _whole(name: str) -> str:
    for part in ("_bucket", "_count", "_sum"):
        if name.endswith(part):
            return name.removesuffix(part)
    return name


def _tokens(expression: str) -> Iterable[str]:
    word = ""
    for sign in f"{expression} ":
        if sign.isalnum() or sign in "_:":
            word += sign
        elif word:
            yield word
            word = ""


def _head(*, where: bool = False) -> list[str]:
    columns = ["metric", "in"] if where else ["metric"]
    columns += ["type", "labels", "unit", "tells", "alarm"]
    return ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]


def _row(one: Definition, rules: Sequence[Alert], where: Sequence[str] = ()) -> str:
    alarms = [f"[{rule.name}](#alerts)" for rule in rules if uses(rule.expression, one.name)]
    labels = "; ".join(f"`{name}`: {_values(values)}" for name, values in one.labels.items())
    cells = [f"`{one.name}`", *([", ".join(where)] if where else [])]
    cells += [one.kind.value, labels, one.unit, one.text, ", ".join(alarms)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _values(values: Values) -> str:
    if isinstance(values, Named):
        return values.text
    if set(_REASONS) <= set(values):
        rest = [value for value in values if value not in _REASONS]
        return ", ".join([*(f"`{value}`" for value in rest), "a [reason](#reasons)"])
    return _listed(values)


def _listed(values: Iterable[str]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _alerts(rules: Sequence[Alert]) -> list[str]:
    lines = [
        "## Alerts",
        "",
        "In [alerts.yml](../deploy/prometheus/alerts.yml), by what they are about.",
        "",
        "| alert | severity | when | do |",
        "|---|---|---|---|",
    ]
    for rule in rules:
        when = f"`{rule.expression}`" + (f" for {rule.held_for}" if rule.held_for else "")
        do = rule.action
        if rule.runbook is not None:
            do += f" [{rule.runbook.removeprefix('docs/')}]({rule.runbook.removeprefix('docs/')})"
        cells = (rule.name, rule.severity, when, do)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def written(page: Path = PAGE) -> tuple[str, str]:
    """What stands in `page` before MARK, and after it. Raises ValueError where it is not there."""
    before, mark, after = page.read_text(encoding="utf-8").partition(f"{MARK}\n\n")
    if not mark:
        raise ValueError(f"{page} has no {MARK}")
    return before, after


def main() -> int:
    """Write what is generated below MARK, and leave the rest of the page as it is."""
    before, _ = written()
    PAGE.write_text(f"{before}{MARK}\n\n{generated()}", encoding="utf-8")
    print(f"written: {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
