"""A pytest plugin that runs the tests once as they are, and then once for each change.

The tests are collected once. For each change a child is forked, which switches the change on, runs
those tests that reach the changed function, the likeliest to see it and the quick ones first, and
ends with the first that fails.
What fixtures of the session have set up serves all children.

Tests on real stores cannot be judged so, for gRPC does not live through a fork: there this process
judges by itself (see `staying`). It may end before all is judged; whoever started it starts another
for the rest, which need not find out again which tests reach what.

It is loaded into the run of tests in a copy (`-p tests.mutants.judge`).
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import is_hypothesis_test
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state

from tests.mutants.changes import End
from tests.mutants.staying import Staying

NAMES_VARIABLE = "PAYCORE_MUTANTS_NAMES"
"""Path of a JSON list of the changes to judge, by the names that switch them on."""
REPORT_VARIABLE = "PAYCORE_MUTANTS_REPORT"
"""Path of the file to which a JSON line is added for each change that was judged."""

REACHED_VARIABLE = "PAYCORE_MUTANTS_REACHED"
"""Set where no child is forked: path of a file in which the first process of a round notes for the
others which tests reach each function, and how long each takes."""

REACHED = "stats"
"""Name under which mutmut notes which functions are called."""

LEAST_CPU_S = 3
TIMES_AS_LONG = 20
"""Bound on what one child may compute: this many times what its tests take."""
WAITING_S = 300.0
"""Bound on how long it may take, in seconds."""
MEMORY_BYTES = 4 * 2**30
"""Bound on its address space: a loop without an end may fill it."""

Reaching = Mapping[str, list[pytest.Item]]
"""The tests that reach each function."""

Judge = Callable[[str, Sequence[pytest.Item]], tuple[End, str]]
"""How a change fares with some tests, and which of them saw it."""

_TOO_LONG = frozenset({-signal.SIGXCPU, -signal.SIGALRM, -signal.SIGKILL})


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Judge all changes."""
    if session.testsfailed:
        raise session.Interrupted("tests could not be collected")
    names: list[str] = json.loads(Path(os.environ[NAMES_VARIABLE]).read_text())
    stays = REACHED_VARIABLE in os.environ
    tests, judge = _staying(session, names) if stays else _forking(session, names)
    with Path(os.environ[REPORT_VARIABLE]).open("a") as report:
        for number, name in enumerate(names, start=1):
            began_s = time.monotonic()
            reaching = tests.get(name.rpartition("__mutmut_")[0], [])
            end, by = judge(name, reaching) if reaching else (End.UNTESTED, "")
            # What saw one change of a function is likely to see the next.
            reaching.sort(key=lambda item: item.nodeid != by)
            took_s = round(time.monotonic() - began_s, 3)
            line = {"name": name, "end": end, "by": by, "took_s": took_s}
            report.write(json.dumps(line) + "\n")
            report.flush()
            if number % 50 == 0 or number == len(names):
                print(f"{number} of {len(names)} judged", file=sys.__stderr__, flush=True)
    return True


def _forking(session: pytest.Session, names: Sequence[str]) -> tuple[Reaching, Judge]:
    # After the last comes the first again, so that what the session set up stays.
    tests = _run_whole(session, [*session.items[1:], session.items[0]])
    _check_files(names, session.config.rootpath)
    gc.collect()
    gc.freeze()
    # A test that does not pass twice in one process would seem to see whatever it reaches.
    end, by = _judge("", session.items)
    if end is not End.LIVES:
        pytest.exit(f"{by or end} fails when it runs again, without any change", 1)
    return tests, _judge


def _staying(session: pytest.Session, names: Sequence[str]) -> tuple[Reaching, Judge]:
    noted = Path(os.environ[REACHED_VARIABLE])
    nothing = cast("pytest.Item", _Nothing(session))
    if not noted.exists():
        tests = _run_whole(session, [nothing] * len(session.items))
        for item in session.items:
            if not _passes(item, nothing):
                pytest.exit(f"{item.nodeid} fails when it runs again, without any change", 1)
        lines = {name: [item.nodeid for item in items] for name, items in tests.items()}
        times = {item.nodeid: took_s for item, took_s in _took_s.items()}
        noted.write_text(json.dumps([lines, times]))
    else:
        by_id = {item.nodeid: item for item in session.items}
        lines, times = json.loads(noted.read_text())
        tests = {name: [by_id[one] for one in ids] for name, ids in lines.items()}
        _took_s.update({by_id[one]: took_s for one, took_s in times.items()})
        # What the session sets up takes longer than a test may with a change.
        _run(session.items[0], nothing)
    _check_files(names, session.config.rootpath)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))

    def passes(name: str, item: pytest.Item) -> bool:
        set_mutant_under_test(name)
        try:
            return _passes(item, nothing)
        finally:
            set_mutant_under_test("")

    return tests, Staying(passes, _took_s).judge


class _Nothing:
    """Follows a test of which nothing but what the session has set up is to stay."""

    def __init__(self, session: pytest.Session) -> None:
        self._session = session

    def listchain(self) -> list[object]:
        return [self._session]


def _run_whole(session: pytest.Session, following: Sequence[pytest.Item]) -> Reaching:
    """The tests that reach each function, quick ones first; all of them must pass."""
    set_mutant_under_test(REACHED)
    reaching: dict[str, list[pytest.Item]] = {}
    took_s: dict[pytest.Item, float] = {}
    for item, after in zip(session.items, following, strict=True):
        state()._stats.clear()
        began_s = time.monotonic()
        _run(item, after)
        took_s[item] = time.monotonic() - began_s
        for function in state()._stats:
            reaching.setdefault(function, []).append(item)
    set_mutant_under_test("")
    for items in reaching.values():
        items.sort(key=lambda item: (is_hypothesis_test(getattr(item, "obj", None)), took_s[item]))
    _took_s.update(took_s)
    return reaching


_took_s: dict[pytest.Item, float] = {}


def _judge(name: str, items: Sequence[pytest.Item]) -> tuple[End, str]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        code = 1
        try:
            failed = _first_failed(name, items)
            os.write(writing, failed.encode())
            code = 1 if failed else 0
        finally:
            # Nothing that the parent set up is taken down here.
            os._exit(code)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as pipe:
            by = pipe.read().decode()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except BaseException:
        # It may wait for what never comes, and nobody would wait for it.
        os.kill(child, signal.SIGKILL)
        raise
    if code == 0:
        return End.LIVES, ""
    return End.TOO_LONG if code in _TOO_LONG else End.SEEN, by


def _first_failed(name: str, items: Sequence[pytest.Item]) -> str:
    """Node id of the first of `items` that fails with the change; empty where all pass."""
    limit_s = LEAST_CPU_S + int(TIMES_AS_LONG * sum(_took_s[item] for item in items))
    resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, max(WAITING_S, limit_s))
    set_mutant_under_test(name)
    for place, item in enumerate(items):
        following = items[place + 1] if place + 1 < len(items) else item
        if not _passes(item, following):
            return item.nodeid
    return ""


def _run(item: pytest.Item, following: pytest.Item) -> None:
    reports = runtestprotocol(item, log=False, nextitem=following)
    failed = [report for report in reports if report.failed]
    if failed:
        pytest.exit(f"{item.nodeid} fails without any change:\n{failed[0].longrepr}", 1)


def _passes(item: pytest.Item, following: pytest.Item) -> bool:
    # As for a first run: arguments of the run before are gone.
    item._initrequest()  # type: ignore[attr-defined]
    return not any(report.failed for report in runtestprotocol(item, log=False, nextitem=following))


def _check_files(names: Sequence[str], tree: Path) -> None:
    """What is installed, which is the checkout, must not be judged in the copy's place."""
    for module in {name.rpartition(".")[0] for name in names}:
        file = getattr(sys.modules.get(module), "__file__", None)
        if file is not None and not Path(file).resolve().is_relative_to(tree.resolve()):
            pytest.exit(f"the tests ran code from outside the copy: {file}", 1)
