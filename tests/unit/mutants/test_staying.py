"""Changes judged in the process of the tests: what is left behind is not blamed on the next."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from tests.mutants import staying
from tests.mutants.changes import End
from tests.mutants.crew import Crew
from tests.mutants.judge import NAMES_VARIABLE, REPORT_VARIABLE
from tests.mutants.parts import MutantsError
from tests.mutants.staying import EXIT_TOO_LONG, EXIT_UNCLEAN, Staying


class ProcessEndedError(BaseException):
    """In place of the end of the process; the code is its argument."""


@dataclass(frozen=True, eq=False)
class Item:
    """A test that fails with the changes `sees`; with those in `spoils` it fails ever after."""

    nodeid: str
    sees: frozenset[str] = frozenset()
    spoils: frozenset[str] = frozenset()


@dataclass
class Process:
    """Runs items as a process of tests would."""

    took_s: float = 1.0
    spoilt: bool = False
    shown: list[str] = field(default_factory=list)

    def passes(self, name: str, item: Any) -> bool:
        self.shown.append(item.nodeid)
        self.spoilt = self.spoilt or name in item.spoils
        return not self.spoilt and name not in item.sees

    def judging(self, *items: Item) -> tuple[Staying, list[pytest.Item]]:
        tests = cast("list[pytest.Item]", list(items))
        return Staying(self.passes, dict.fromkeys(tests, self.took_s)), tests


@pytest.fixture(autouse=True)
def ends(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Codes with which the process would have ended."""
    codes: list[int] = []

    def end(code: int) -> None:
        codes.append(code)
        raise ProcessEndedError(code)

    monkeypatch.setattr(os, "_exit", end)
    return codes


def test_a_change_is_seen_by_the_first_test_that_fails_with_it(ends: list[int]) -> None:
    staying, tests = Process().judging(Item("quick"), Item("sharp", frozenset({"a"})))
    assert staying.judge("a", tests) == (End.SEEN, "sharp")
    assert staying.judge("b", tests) == (End.LIVES, "")
    assert staying.judge("a", tests) == (End.SEEN, "sharp")
    assert ends == []


def test_one_failure_is_not_enough() -> None:
    passing = iter([False, True, True])
    _, tests = Process().judging(Item("shaky"))
    judge = Staying(lambda _name, _item: next(passing), {tests[0]: 1.0})
    assert judge.judge("a", tests) == (End.LIVES, "")


def test_what_the_first_change_leaves_behind_ends_the_process_before_the_next() -> None:
    staying, tests = Process().judging(Item("one", spoils=frozenset({"a"})))
    assert staying.judge("a", tests) == (End.SEEN, "one")
    with pytest.raises(ProcessEndedError) as ended:
        staying.judge("b", tests)
    assert ended.value.args == (EXIT_UNCLEAN,)


def test_a_failure_that_may_be_anothers_fault_is_no_verdict() -> None:
    staying, tests = Process().judging(Item("one", spoils=frozenset({"b"})))
    assert staying.judge("a", tests) == (End.LIVES, "")
    with pytest.raises(ProcessEndedError) as ended:
        staying.judge("b", tests)
    assert ended.value.args == (EXIT_UNCLEAN,)


def test_a_change_is_shown_to_tests_of_a_bounded_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staying, "SHOWN_S", 2.5)
    process = Process()
    judge, tests = process.judging(*(Item(str(number)) for number in range(9)))
    assert judge.judge("a", tests) == (End.LIVES, "")
    assert process.shown == ["0", "1", "2"]


@pytest.mark.parametrize(("before", "code"), [(0, EXIT_TOO_LONG), (1, EXIT_UNCLEAN)])
def test_a_test_without_an_end_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, ends: list[int], before: int, code: int
) -> None:
    ended = threading.Event()

    def end(code: int) -> None:
        ends.append(code)
        ended.set()

    monkeypatch.setattr(os, "_exit", end)
    item = cast("pytest.Item", Item("endless"))
    judging = Staying(lambda name, _item: name == "quick" or ended.wait(30), {item: 0.0})
    for _ in range(before):
        assert judging.judge("quick", [item]) == (End.LIVES, "")
    monkeypatch.setattr(staying, "LEAST_S", 0.01)
    judging.judge("endless", [item])
    assert ends == [code]


Play = Callable[[Sequence[str]], tuple[int, dict[str, str]]]
"""What a process makes of the changes that it is given: its code, and the ends that it notes."""


def played(monkeypatch: pytest.MonkeyPatch, folder: Path, *plays: Play) -> dict[str, str]:
    """The ends of a, b and c, judged by processes that do as `plays` say, one after the other."""
    left = iter(plays)

    def run(environment: dict[str, str]) -> tuple[int, str]:
        names = json.loads(Path(environment[NAMES_VARIABLE]).read_text())
        code, ends = next(left)(names)
        lines = [json.dumps({"name": name, "end": end, "by": ""}) for name, end in ends.items()]
        with Path(environment[REPORT_VARIABLE]).open("a") as file:
            file.writelines(line + "\n" for line in lines)
        return code, "its output"

    crew = Crew(folder, folder, ())
    monkeypatch.setattr(crew, "run", run)
    crew.judge(["a", "b", "c"], {})
    assert next(left, None) is None
    return {line["name"]: line["end"] for line in crew.verdicts()}


def test_the_next_process_judges_what_the_one_before_did_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ends = played(
        monkeypatch,
        tmp_path,
        lambda names: (EXIT_UNCLEAN, {names[0]: "seen"}),
        lambda names: (EXIT_TOO_LONG, {}),
        lambda names: (0, dict.fromkeys(names, "lives")),
    )
    assert ends == {"a": "seen", "b": "too long", "c": "lives"}


@pytest.mark.parametrize("code", [1, EXIT_UNCLEAN])
def test_processes_that_come_to_nothing_are_told_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int
) -> None:
    with pytest.raises(MutantsError, match=f"pytest ended with {code}:\nits output"):
        played(monkeypatch, tmp_path, lambda _names: (code, {}))
