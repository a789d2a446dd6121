"""What metrics each process has, read from its own modules, and what alerts ask for.

`python -m tools.metrics MODULE...` prints the definitions of a process that imports these, as JSON:
each in an interpreter of its own, since what is imported is what the endpoint shows.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import REGISTRY

from paycore.runtime.metric_definitions import DEFINITIONS, Definition, Kind, Named

ROOT = Path(__file__).resolve().parent.parent
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"

PROCESSES: Mapping[str, tuple[str, ...]] = {
    "command": ("command_service.__main__", "command_service.worker"),
    "signing": ("signing_service.__main__",),
    "projector": ("projector.__main__",),
    "query": ("query_service.__main__",),
    "verify": ("operations.verify.textfile",),
}
"""Modules by the process that they make up; `verify` writes a file."""

OF_VERIFY = "paycore_verify_"


class UndefinedMetricError(Exception):
    """A process shows a metric that was not made by paycore.runtime.metric_definitions."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule of deploy/prometheus/alerts.yml."""

    group: str
    name: str
    expression: str
    held_for: str
    severity: str
    summary: str
    action: str
    runbook: str | None


@cache
def definitions(process: str) -> Mapping[str, Definition]:
    """Those of a process of PROCESSES, by name. Raises CalledProcessError."""
    told = subprocess.run(
        [sys.executable, "-m", "tools.metrics", *PROCESSES[process]],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = {name: _definition(fields) for name, fields in json.loads(told).items()}
    # What verify imports beside its own is shown by nobody.
    of_verify = process == "verify"
    return {name: one for name, one in found.items() if name.startswith(OF_VERIFY) is of_verify}


def alerts(path: Path = ALERTS) -> list[Alert]:
    """The rules, in the order of the file. Raises KeyError where one lacks what all have."""
    rules = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [
        Alert(
            group["name"],
            rule["alert"],
            " ".join(rule["expr"].split()),
            rule.get("for", ""),
            rule["labels"]["severity"],
            rule["annotations"]["summary"],
            rule["annotations"]["action"],
            rule["annotations"].get("runbook"),
        )
        for group in rules["groups"]
        for rule in group["rules"]
    ]


def _definition(fields: Mapping[str, Any]) -> Definition:
    labels = {
        name: Named(values) if isinstance(values, str) else tuple(values)
        for name, values in fields["labels"].items()
    }
    return Definition(fields["name"], Kind(fields["kind"]), fields["text"], fields["unit"], labels)


def _told(definition: Definition) -> Mapping[str, Any]:
    return {
        "name": definition.name,
        "kind": definition.kind.value,
        "text": definition.text,
        "unit": definition.unit,
        "labels": {
            name: values.text if isinstance(values, Named) else values
            for name, values in definition.labels.items()
        },
    }


def _shown() -> set[str]:
    """Names of paycore's metrics in this interpreter's registry."""
    return {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in REGISTRY.collect()
        if family.name.startswith("paycore_")
    }


def main(modules: Sequence[str]) -> int:
    """Import `modules` and print what they define. Raises UndefinedMetricError."""
    for module in modules:
        import_module(module)
    strangers = _shown() - DEFINITIONS.keys()
    if strangers:
        raise UndefinedMetricError(", ".join(sorted(strangers)))
    print(json.dumps({name: _told(one) for name, one in DEFINITIONS.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
