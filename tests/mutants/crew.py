"""Processes of pytest that judge changes, one after the other or some at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import count
from pathlib import Path
from typing import Any

from tests.mutants.changes import End
from tests.mutants.judge import NAMES_VARIABLE, REPORT_VARIABLE
from tests.mutants.parts import MutantsError
from tests.mutants.staying import EXIT_TOO_LONG, EXIT_UNCLEAN

EXAMPLES = 25
"""How many examples a property takes."""

STOPS_WITHIN_S = 60.0


class Crew:
    """Runs some tests in a copy of the tree, and has what they say of each change."""

    def __init__(self, place: Path, folder: Path, tests: Sequence[str]) -> None:
        """`place` is the copy; what is noted goes to `folder`."""
        self._place = place
        self._folder = folder
        self._tests = tests
        self._numbers = count()
        self._reports: list[Path] = []
        self._running: set[subprocess.Popen[str]] = set()
        self._stopping = False
        self._starting = threading.Lock()

    def judge(self, names: Sequence[str], environment: Mapping[str, str]) -> None:
        """One process after the other, until all of `names` have a verdict.

        Raises MutantsError where one ends without any, and for no reason of a change's.
        """
        # Of several threads no two get the same.
        number = next(self._numbers)
        wanted = self._folder / f"names-{number}.json"
        report = self._folder / f"report-{number}.jsonl"
        report.write_text("")
        self._reports.append(report)
        variables = {NAMES_VARIABLE: str(wanted), REPORT_VARIABLE: str(report)}
        left = names
        while True:
            wanted.write_text(json.dumps(left))
            code, output = self.run({**environment, **variables})
            before, left = left, names[len(_lines(report)) :]
            if code == EXIT_TOO_LONG and left:
                line = {"name": left[0], "end": End.TOO_LONG, "by": ""}
                with report.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                left = left[1:]
            elif code not in (0, EXIT_UNCLEAN) or len(left) == len(before) > 0:
                raise MutantsError(f"pytest ended with {code}:\n{output}")
            if not left:
                return

    def judge_side_by_side(
        self, names: Sequence[str], environments: Sequence[Mapping[str, str]]
    ) -> None:
        """As many processes share `names`, after one that notes for all what the tests reach."""
        self.judge([], environments[0])
        at_once = len(environments)
        with ThreadPoolExecutor(at_once) as threads:
            try:
                working = [
                    threads.submit(self.judge, names[place::at_once], environment)
                    for place, environment in enumerate(environments[: len(names)])
                ]
                for one in as_completed(working):
                    one.result()
            except BaseException:
                self.stop()
                raise

    def verdicts(self) -> list[dict[str, Any]]:
        """A line for each change that has been judged so far."""
        return [line for report in self._reports for line in _lines(report)]

    def stop(self) -> None:
        """End what runs, and begin nothing more."""
        with self._starting:
            self._stopping = True
        for process in list(self._running):
            _end(process)

    def run(self, environment: Mapping[str, str]) -> tuple[int, str]:
        """Run the tests once; gives pytest's code and output."""
        with self._starting:
            if self._stopping:
                raise MutantsError("another process ended for no reason of a change's")
            process = self._start(environment)
            self._running.add(process)
        try:
            output, _ = process.communicate()
        except BaseException:
            _end(process)
            raise
        finally:
            self._running.discard(process)
        return process.returncode, output

    def _start(self, environment: Mapping[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "pytest", "-q", "-p", "tests.mutants.judge"),
                *("-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", str(self._place)),
                # Nobody reads how each test failed, and to explain it takes longer than the test.
                *("--assert=plain", "--tb=native"),
                # The same examples each time: what lives in one run lives in the next.
                "--hypothesis-seed=0",
                *self._tests,
            ],
            cwd=self._place,
            env={
                **os.environ,
                # Before what is installed: the editable install of the checkout must not win.
                "PYTHONPATH": str(self._place),
                "PYTHONHASHSEED": "0",
                "PAYCORE_EXAMPLES": str(EXAMPLES),
                "PAYCORE_TEST_SEED": "0",
                **environment,
            },
            stdout=subprocess.PIPE,
            text=True,
        )


def _end(process: subprocess.Popen[str]) -> None:
    """End it as Ctrl-C would, and where it does not listen, with a change in it, by force."""
    process.terminate()
    try:
        process.wait(STOPS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _lines(report: Path) -> list[dict[str, Any]]:
    # A process may have ended in the middle of its last.
    return [json.loads(line) for line in report.read_text().splitlines(True) if line[-1] == "\n"]
