"""The result of a verification as a file for Prometheus' textfile collector (node_exporter).

A verification is a run of the command line, mostly by cron: nothing of it is left that could be
asked. The file is written by the verifier itself, not by the database that it verified, and only
by a run that came to a result: of one that could not be made tells its age.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from prometheus_client import CollectorRegistry, write_to_textfile

from operations.errors import UsageError
from operations.verify.chain import RULES as CHAIN_RULES
from operations.verify.report import Check
from operations.verify.rules import RULES
from operations.verify.verify import INDEX_RULE
from paycore.runtime.metric_definitions import FLAG, SECONDS, TIMESTAMP, gauge, of


class Examined(StrEnum):
    """What a run looked at."""

    WHOLE = "whole"
    SINCE_LAST = "since_last"
    SINCE_POSITION = "since_position"
    CHAIN = "chain"


_NAMES = {
    **{rule.text: name for name, rule in RULES.items()},
    **{text: name for name, (text, _) in CHAIN_RULES.items()},
    INDEX_RULE: "index",
}
"""Names of rules by what reports say."""

_REGISTRY = CollectorRegistry()
_SCOPE = {"scope": of(Examined)}
_RULE = {**_SCOPE, "rule": tuple(_NAMES.values())}

ENDED = gauge(
    "paycore_verify_timestamp_seconds",
    "When the last run of `paycore verify` that came to a result ended.",
    unit=TIMESTAMP,
    labels=_SCOPE,
    registry=_REGISTRY,
)
HELD = gauge(
    "paycore_verify_held",
    "1 where that run found every rule kept, 0 where one was broken.",
    unit=FLAG,
    labels=_SCOPE,
    registry=_REGISTRY,
)
TOOK_SECONDS = gauge(
    "paycore_verify_duration_seconds",
    "How long that run took.",
    unit=SECONDS,
    labels=_SCOPE,
    registry=_REGISTRY,
)
ROWS = gauge(
    "paycore_verify_examined",
    "What that run examined by a rule: rows, or what docs/verification.md says.",
    unit="rows",
    labels=_RULE,
    registry=_REGISTRY,
)
VIOLATIONS = gauge(
    "paycore_verify_violations",
    "How many of what that run examined broke the rule.",
    unit="rows",
    labels=_RULE,
    registry=_REGISTRY,
)


def check_folder(folder: Path) -> None:
    """Raise UsageError unless `folder` is one: before a run that may take long."""
    if not folder.is_dir():
        raise UsageError(f"--metrics: there is no folder {folder}")


def write_result(
    folder: Path, scope: Examined, checks: Sequence[Check], *, ended_s: float, took_s: float
) -> Path:
    """Replace the file of `scope` in `folder`, whole; returns its path.

    `ended_s` is in seconds since 1970. Raises OSError.
    """
    for metric in (ENDED, HELD, TOOK_SECONDS, ROWS, VIOLATIONS):
        metric.clear()
    ENDED.labels(scope.value).set(ended_s)
    HELD.labels(scope.value).set(all(check.held for check in checks))
    TOOK_SECONDS.labels(scope.value).set(took_s)
    for check in checks:
        rule = _NAMES[check.rule]
        ROWS.labels(scope.value, rule).set(check.examined)
        VIOLATIONS.labels(scope.value, rule).set(check.violations)
    path = folder / f"paycore_verify_{scope.value}.prom"
    write_to_textfile(str(path), _REGISTRY)
    return path
