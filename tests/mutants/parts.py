"""What is changed, and which tests judge it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class MutantsError(Exception):
    """A run that shows nothing: the tool, the tests or the reasons are not what they should be."""


@dataclass(frozen=True, slots=True)
class Round:
    """Tests that judge whatever the rounds before let live."""

    name: str
    tests: tuple[str, ...]
    """Paths, from the root of the tree."""
    stays: bool = False
    """Whether each process judges change after change by itself, without forking."""
    on_stores: bool = False
    """Whether they need PostgreSQL, Redis and Elasticsearch. No fork lives through these."""


@dataclass(frozen=True, slots=True)
class Part:
    """Modules whose code is changed, and the rounds that judge the changes."""

    folder: str
    rounds: tuple[Round, ...]
    modules: tuple[str, ...] = ()
    """Names of files without suffix; without any, all of the folder."""
    by_default: bool = True
    """Whether it is judged where no part is named."""


PARTS: Mapping[str, Part] = {
    "domain": Part(
        "paycore/domain",
        (
            # Without its random programs: what only chance would see needs an example.
            Round(
                "units",
                (
                    "tests/unit/domain",
                    "tests/unit/client/test_webhook_signatures.py",
                    "--ignore=tests/unit/domain/test_planning_stateful.py",
                ),
            ),
        ),
    ),
    "posting": Part(
        "command_service/posting",
        (
            Round(
                "units",
                (
                    "tests/unit/command_service/test_expiry.py",
                    "tests/unit/command_service/test_fair_queue.py",
                    "tests/unit/command_service/test_held_up.py",
                    "tests/unit/command_service/test_id_readiness.py",
                    "tests/unit/command_service/test_pacing.py",
                    "tests/unit/command_service/test_partition_watch.py",
                    "tests/unit/command_service/test_posting_metrics.py",
                    "tests/unit/command_service/test_rows.py",
                    "tests/unit/command_service/test_waiting.py",
                ),
            ),
            Round(
                "integration",
                (
                    "tests/integration/command_service/test_expiry.py",
                    "tests/integration/command_service/test_held_up.py",
                    "tests/integration/command_service/test_partition_watch.py",
                    "tests/integration/command_service/test_past.py",
                    "tests/integration/command_service/test_step_up_policy.py",
                ),
                on_stores=True,
            ),
        ),
        (
            "expiry",
            "fair_queue",
            "held_up",
            "id_readiness",
            "metrics",
            "pacing",
            "partition_watch",
            "past",
            "rows",
            "store",
            "waiting",
        ),
    ),
    # What the engine and its database do together.
    "engine": Part(
        "command_service/posting",
        (
            # Many a change has it wait for what never comes, which is sooner noticed so.
            Round(
                "units",
                (
                    "tests/unit/command_service/test_engine.py",
                    "tests/unit/command_service/test_engine_batches.py",
                ),
                stays=True,
            ),
            # Each goes its own way through the store, which most of the others go beside.
            Round(
                "ways",
                (
                    "tests/integration/command_service/test_expiry.py",
                    "tests/integration/command_service/test_held_up.py",
                    "tests/integration/command_service/test_look_up.py",
                    "tests/integration/command_service/test_stored.py",
                    "tests/integration/personal/test_command.py",
                ),
                on_stores=True,
            ),
            Round(
                "integration",
                (
                    "tests/integration/command_service/test_commit_outcomes.py",
                    "tests/integration/command_service/test_engine.py",
                    "tests/integration/command_service/test_light_clients.py",
                    "tests/integration/command_service/test_programs.py",
                    "tests/integration/command_service/test_step_up_policy.py",
                ),
                on_stores=True,
            ),
        ),
        ("engine", "postgres"),
        by_default=False,
    ),
}
