"""Runs named tests in a copy of the tree, on that copy's code, and says how each ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.teeth.bugs import TeethError
from tests.teeth.witness import REPORT_VARIABLE

STOPS_WITHIN_S = 60.0
"""How long a run that is interrupted has to stop its stack, in seconds."""

_COLLECTED = (0, 1)
"""Exit codes of pytest: all passed, some failed."""


@dataclass(frozen=True, slots=True)
class End:
    """How one test ended."""

    outcome: str
    """passed, failed or skipped."""
    phase: str = "call"
    """setup, call or teardown: in which it did not pass."""
    exceptions: tuple[str, ...] = ()
    asserted: bool = False
    said: str = ""

    @property
    def first_line(self) -> str:
        """What the failure said, in one line."""
        said = next((line.strip() for line in self.said.splitlines() if line.strip()), "")
        return f"{self.exceptions[0] if self.exceptions else self.outcome}: {said}"


Ends = Mapping[str, End]
"""By node id."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a run of tests gave."""

    ends: Ends
    paycore: str
    """`paycore.__file__` as the tests had it."""


def run_tests(tree: Path, tests: Sequence[str], environment: Mapping[str, str]) -> Run:
    """Run `tests`, node ids, in `tree`, with `environment` beside our own.

    Raises TeethError where they did not run on its code.
    """
    with tempfile.TemporaryDirectory(prefix="paycore-teeth-report-") as folder:
        report = Path(folder) / "report.json"
        output = _pytest(tree, tests, {**environment, REPORT_VARIABLE: str(report)})
        if not report.exists():
            raise TeethError(f"pytest ended without a report:\n{output}")
        written = json.loads(report.read_text())
    _check_files(tree, written["files"])
    ends = {
        name: End(**{**end, "exceptions": tuple(end.get("exceptions", ()))})
        for name, end in written["ends"].items()
    }
    return Run(ends, written["files"]["paycore"])


def cases(ends: Ends, test: str) -> dict[str, End]:
    """Those of `ends` that are of `test`: one, or one for each of its parameters."""
    return {name: end for name, end in ends.items() if name == test or name.startswith(f"{test}[")}


def _pytest(tree: Path, tests: Sequence[str], environment: Mapping[str, str]) -> str:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "tests.teeth.witness"),
            *("-p", "no:cacheprovider", "--rootdir", str(tree), *tests),
        ],
        cwd=tree,
        # Before what is installed: the editable install of the checkout must not win.
        env={**os.environ, "PYTHONPATH": str(tree), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = process.communicate()
    except BaseException:
        process.terminate()
        process.communicate(timeout=STOPS_WITHIN_S)
        raise
    if process.returncode not in _COLLECTED:
        raise TeethError(f"pytest ended with {process.returncode}:\n{output}")
    return output


def _check_files(tree: Path, files: Mapping[str, str]) -> None:
    place = tree.resolve()
    if "paycore" not in files:
        raise TeethError("the tests did not load paycore at all")
    strange = [path for path in files.values() if not Path(path).is_relative_to(place)]
    if strange:
        raise TeethError(f"the tests ran code from outside the copy: {strange[0]}")
