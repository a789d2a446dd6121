"""Whether the tests that are named for a bug catch it: they pass without it and fail with it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.teeth.bugs import Bug, TeethError
from tests.teeth.copies import apply, check_applies, copy_tree
from tests.teeth.runs import End, Ends, cases, run_tests
from tests.teeth.stores import Environment


@dataclass(frozen=True, slots=True)
class Catch:
    """What one named test said of a bug."""

    test: str
    how: str
    """The failure in one line, or why it is none."""
    caught: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the named tests said of one bug."""

    bug: Bug
    catches: tuple[Catch, ...]
    took_s: float
    paycore: str
    """Where the code was that was tested."""

    @property
    def caught(self) -> bool:
        """By every test that is named."""
        return all(catch.caught for catch in self.catches)


class Jaw:
    """Puts bugs, one at a time, into copies of a tree below `place` and runs their tests there."""

    def __init__(
        self, tree: Path, place: Path, stores: Callable[[Bug], Environment] = lambda bug: {}
    ) -> None:
        """`stores` tells by which environment the tests of a bug find theirs."""
        self._place = place
        self._stores = stores
        self._whole = copy_tree(tree, place / "whole")

    def check(self, bugs: Sequence[Bug]) -> None:
        """Raise TeethError for the first of `bugs` that no longer applies."""
        for bug in bugs:
            check_applies(bug, self._whole)

    def run_whole(self, bugs: Sequence[Bug]) -> float:
        """Run the tests of all `bugs` without them, once; how long it took, in seconds.

        Raises TeethError where one does not pass.
        """
        began_s = time.monotonic()
        together: dict[tuple[tuple[str, str], ...], set[str]] = {}
        for bug in bugs:
            stores = tuple(sorted(self._stores(bug).items()))
            together.setdefault(stores, set()).update(bug.tests)
        for stores, tests in together.items():
            self._run_whole(sorted(tests), dict(stores))
        return time.monotonic() - began_s

    def _run_whole(self, tests: Sequence[str], stores: Environment) -> None:
        ends = run_tests(self._whole, tests, stores).ends
        for test in tests:
            own = cases(ends, test)
            bad = [f"{name}: {end.first_line}" for name, end in own.items() if not _passed(end)]
            if bad or not own:
                raise TeethError(f"without any bug {test} does not pass: {bad or 'did not run'}")

    def verdicts(self, bugs: Sequence[Bug]) -> Iterator[Verdict]:
        """What becomes of each bug. Raises TeethError where one does not apply."""
        for bug in bugs:
            began_s = time.monotonic()
            copy = copy_tree(self._whole, self._place / bug.name, compiled=True)
            apply(bug, copy)
            catches, paycore = self._catches(bug, copy)
            shutil.rmtree(copy)
            yield Verdict(bug, catches, time.monotonic() - began_s, paycore)

    def _catches(self, bug: Bug, copy: Path) -> tuple[tuple[Catch, ...], str]:
        try:
            run = run_tests(copy, bug.tests, self._stores(bug))
        except TeethError as error:
            # The other bugs are worth looking at all the same.
            return tuple(Catch(test, str(error), caught=False) for test in bug.tests), "nothing"
        return tuple(_catch(bug, test, run.ends) for test in bug.tests), run.paycore


def _catch(bug: Bug, test: str, ends: Ends) -> Catch:
    own = cases(ends, test)
    if not own:
        return Catch(test, "did not run", caught=False)
    failed = [end for end in own.values() if not _passed(end)]
    if not failed:
        return Catch(test, "passed: not caught", caught=False)
    for end in failed:
        if end.phase == "call" and (end.asserted or bug.fails_with in end.exceptions):
            return Catch(test, end.first_line, caught=True)
    return Catch(test, f"no assertion, in {failed[0].phase}: {failed[0].first_line}", caught=False)


def _passed(end: End) -> bool:
    return end.outcome == "passed"
