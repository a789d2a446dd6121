"""Judges the changes of a part in a copy of the tree, round by round."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.mutants.changes import Change, End, Judged
from tests.mutants.copies import prepare
from tests.mutants.judge import NAMES_VARIABLE, REPORT_VARIABLE
from tests.mutants.kept import Kept
from tests.mutants.parts import MutantsError, Part, Round

EXAMPLES = 25
"""How many examples a property takes."""

STOPS_WITHIN_S = 60.0


def judge(
    tree: Path,
    folder: Path,
    part: Part,
    modules: Sequence[str] = (),
    kept: Kept | None = None,
) -> dict[Change, Judged]:
    """What became of each change of `part` in a copy of `tree` in `folder`.

    What `kept` has seen is not judged again. Raises MutantsError.
    """
    place = folder / "tree"
    changes = prepare(tree, place, part, modules or part.modules)
    seen = {} if kept is None else kept.read()
    verdicts = {change: seen[change] for change in changes.values() if change in seen}
    names = [name for name, change in changes.items() if change not in seen]
    say(f"{len(changes)} changes in {part.folder}, {len(verdicts)} of them seen before")
    for by in part.rounds:
        if not names:
            break
        began_s = time.monotonic()
        found = _run_round(place, folder, names, by, changes, kept)
        verdicts |= {changes[name]: judged for name, judged in found.items()}
        names = [name for name, judged in found.items() if judged.lives]
        took_s = time.monotonic() - began_s
        say(f"{by.name}: {len(names)} of {len(found)} live, {took_s:.0f} s")
    return verdicts


def say(text: str) -> None:
    """Tell who waits."""
    print(text, file=sys.stderr, flush=True)


def _run_round(
    place: Path,
    folder: Path,
    names: Sequence[str],
    by: Round,
    changes: Mapping[str, Change],
    kept: Kept | None,
) -> dict[str, Judged]:
    wanted, report = folder / "names.json", folder / "report.jsonl"
    wanted.write_text(json.dumps(names))
    report.write_text("")
    needed = {NAMES_VARIABLE: str(wanted), REPORT_VARIABLE: str(report)}
    try:
        _run_pytest(place, by.tests, needed)
    finally:
        # Of a run that is interrupted too.
        lines = [json.loads(line) for line in report.read_text().splitlines()]
        found = {line["name"]: Judged(End(line["end"]), line["by"], by.name) for line in lines}
        if kept is not None:
            kept.add({changes[name]: judged for name, judged in found.items()})
    if list(found) != list(names):
        raise MutantsError(f"only {len(found)} of {len(names)} changes were judged")
    return found


def _run_pytest(place: Path, tests: Sequence[str], environment: Mapping[str, str]) -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "tests.mutants.judge"),
            *("-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", str(place)),
            # Nobody reads how each test failed, and to explain it takes longer than the test.
            *("--assert=plain", "--tb=native"),
            # The same examples each time: what lives in one run lives in the next.
            "--hypothesis-seed=0",
            *tests,
        ],
        cwd=place,
        env={
            **os.environ,
            # Before what is installed: the editable install of the checkout must not win.
            "PYTHONPATH": str(place),
            "PYTHONHASHSEED": "0",
            "PAYCORE_EXAMPLES": str(EXAMPLES),
            "PAYCORE_TEST_SEED": "0",
            **environment,
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        output, _ = process.communicate()
    except BaseException:
        process.terminate()
        process.communicate(timeout=STOPS_WITHIN_S)
        raise
    if process.returncode != 0:
        raise MutantsError(f"pytest ended with {process.returncode}:\n{output}")
