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


@dataclass(frozen=True, slots=True)
class Part:
    """Modules whose code is changed, and the rounds that judge the changes."""

    folder: str
    rounds: tuple[Round, ...]
    modules: tuple[str, ...] = ()
    """Names of files without suffix; without any, all of the folder."""


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
                    "tests/unit/command_service/test_fair_queue.py",
                    "tests/unit/command_service/test_pacing.py",
                ),
            ),
        ),
        # What else there is of posting shows only on PostgreSQL.
        ("fair_queue", "pacing"),
    ),
}
