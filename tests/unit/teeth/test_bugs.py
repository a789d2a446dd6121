"""The planted bugs are of this tree: each fits it, and names tests that it has."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.teeth.bugs import BUGS, ROOT, Bug, TeethError, read_bug, read_bugs
from tests.teeth.copies import check_applies

PLANTED = read_bugs()
HEAD = "Bug: something\nCaught by: tests/unit/a.py::test_a\n"
DIFF = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-1\n+2\n"


def functions(path: Path) -> set[str]:
    """Names of the tests in a module, those in classes as `Class::test`."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        within = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        for member in members:
            if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(f"{within}{member.name}")
    return found


def test_there_are_some_and_no_other_file_lies_between_them() -> None:
    assert len(PLANTED) >= 21
    assert [path for path in (ROOT / BUGS).iterdir() if path.suffix != ".patch"] == []


@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.name)
def test_it_fits_the_tree_as_it_stands(bug: Bug) -> None:
    check_applies(bug, ROOT)
    assert bug.paths
    # A bug is one of the code: what is to catch it stays as it is.
    assert [path for path in bug.paths if path.startswith("tests/")] == []


@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.name)
def test_the_tests_that_must_catch_it_are_there(bug: Bug) -> None:
    for test in bug.tests:
        path, _, name = test.partition("::")
        assert name in functions(ROOT / path)


def test_one_that_no_longer_fits_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("3\n")
    patch = tmp_path / "old.patch"
    patch.write_text(f"{HEAD}\n{DIFF}")
    with pytest.raises(TeethError, match=r"old\.patch no longer applies"):
        check_applies(read_bug(patch), tmp_path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (HEAD, "no diff"),
        (DIFF, "must both be said"),
        (f"Bug: something\n{DIFF}", "must both be said"),
        (f"Bug: twice\n{HEAD}{DIFF}", "more than once"),
        (f"{HEAD}Cought by: x\n{DIFF}", "no line of a head"),
        (f"{HEAD}Note:\n{DIFF}", "no line of a head"),
    ],
)
def test_a_head_that_is_not_as_it_should_be_is_refused(
    tmp_path: Path, text: str, complaint: str
) -> None:
    patch = tmp_path / "bad.patch"
    patch.write_text(text)
    with pytest.raises(TeethError, match=rf"bad\.patch: .*{complaint}"):
        read_bug(patch)


def test_only_those_that_are_there_can_be_chosen() -> None:
    assert [bug.name for bug in read_bugs(only=["locks-unsorted"])] == ["locks-unsorted"]
    with pytest.raises(TeethError, match="no bug nosuch"):
        read_bugs(only=["nosuch"])
