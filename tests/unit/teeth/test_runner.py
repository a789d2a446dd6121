"""The runner tells what is caught from what is not, on a tiny tree of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import paycore
from tests.teeth.__main__ import app
from tests.teeth.bugs import BUGS, ROOT, Bug, TeethError, read_bugs
from tests.teeth.catching import Jaw, Verdict

CODE = "def add(a, b):\n    return a + b\n"
TESTS = """\
import pytest
import paycore

@pytest.mark.parametrize("a", [0, 1])
def test_sum(a):
    assert paycore.add(a, 2) == a + 2

def test_zeros():
    assert paycore.add(0, 0) == 0

def test_refusal():
    with pytest.raises(TypeError):
        paycore.add(1, None)
"""


@pytest.fixture(autouse=True)
def few_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny tree's tests need none of what is installed, of which each run would load all."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Some code, its tests, and the plugin that is loaded into their run."""
    tree = tmp_path / "tree"
    (tree / BUGS).mkdir(parents=True)
    (tree / "paycore").mkdir()
    (tree / "paycore" / "__init__.py").write_text(CODE)
    (tree / "tests" / "__init__.py").touch()
    # Tests of units, for which no stores are started.
    (tree / "tests" / "unit").mkdir()
    (tree / "tests" / "unit" / "__init__.py").touch()
    (tree / "tests" / "unit" / "test_add.py").write_text(TESTS)
    for name in ("__init__.py", "witness.py"):
        shutil.copy(ROOT / "tests" / "teeth" / name, tree / "tests" / "teeth")
    return tree


def plant(tree: Path, name: str, line: str, *tests: str, more: str = "") -> None:
    """A bug that puts `line` in the place of the only line of the only function."""
    caught = "".join(f"Caught by: tests/unit/test_add.py::{test}\n" for test in tests)
    (tree / BUGS / f"{name}.patch").write_text(
        f"Bug: {name}\n{caught}{more}\n"
        "--- a/paycore/__init__.py\n+++ b/paycore/__init__.py\n"
        f"@@ -1,2 +1,2 @@\n def add(a, b):\n-    return a + b\n+    {line}\n"
    )


def verdicts(tree: Path, place: Path) -> dict[str, Verdict]:
    jaw = Jaw(tree, place)
    return {verdict.bug.name: verdict for verdict in jaw.verdicts(read_bugs(tree))}


def test_what_an_assertion_says_is_caught_and_what_passes_or_fails_otherwise_is_not(
    tree: Path, tmp_path: Path
) -> None:
    plant(tree, "caught", "return a - b", "test_sum", "test_sum[1]")
    plant(tree, "not-raised", "return 3", "test_refusal")
    plant(tree, "passed", "return a - b", "test_sum", "test_zeros")
    plant(tree, "raised", "raise KeyError(b)", "test_zeros")
    plant(tree, "raised-as-said", "raise KeyError(b)", "test_zeros", more="Fails with: KeyError\n")
    found = verdicts(tree, tmp_path / "copies")
    assert {name: verdict.caught for name, verdict in found.items()} == {
        "caught": True,
        "not-raised": True,
        "passed": False,
        "raised": False,
        "raised-as-said": True,
    }
    assert [catch.how for catch in found["caught"].catches] == [
        "AssertionError: assert -2 == (0 + 2)",
        "AssertionError: assert -1 == (1 + 2)",
    ]
    assert found["not-raised"].catches[0].how == "Failed: DID NOT RAISE TypeError"
    assert [catch.caught for catch in found["passed"].catches] == [True, False]
    assert found["passed"].catches[1].how == "passed: not caught"
    assert found["raised"].catches[0].how == "no assertion, in call: KeyError: 0"
    own = tmp_path / "copies" / "caught" / "paycore" / "__init__.py"
    assert found["caught"].paycore == str(own.resolve())
    assert (tree / "paycore" / "__init__.py").read_text() == CODE


def test_code_that_does_not_even_load_shows_nothing(tree: Path, tmp_path: Path) -> None:
    plant(tree, "broken", "return a +", "test_zeros")
    broken = verdicts(tree, tmp_path / "copies")["broken"]
    assert not broken.caught
    assert broken.catches[0].how.startswith("pytest ended with ")
    assert "SyntaxError" in broken.catches[0].how


def test_a_test_that_fails_without_any_bug_is_none(tree: Path, tmp_path: Path) -> None:
    plant(tree, "fine", "return a - b", "test_sum")
    (tree / "paycore" / "__init__.py").write_text(CODE.replace("+", "*"))
    jaw = Jaw(tree, tmp_path / "copies")
    with pytest.raises(TeethError, match=r"without any bug tests/unit/test_add\.py::test_sum"):
        jaw.run_whole(read_bugs(tree))


def test_code_of_another_tree_is_not_taken_for_the_copy_s(tree: Path, tmp_path: Path) -> None:
    # What is installed, which is this checkout, would be tested in its place.
    shutil.rmtree(tree / "paycore")
    (tree / "tests" / "unit" / "test_add.py").write_text("import paycore\ndef test_sum(): pass\n")
    bug = Bug("none", "none", ("tests/unit/test_add.py::test_sum",), tree / "none", ())
    with pytest.raises(TeethError, match="code from outside the copy") as error:
        Jaw(tree, tmp_path / "copies").run_whole([bug])
    assert str(paycore.__file__) in str(error.value)


def test_the_command_says_what_was_not_caught_and_ends_with_1(tree: Path) -> None:
    plant(tree, "good", "return a - b", "test_sum")
    run = CliRunner().invoke(app, ["--tree", str(tree)])
    assert run.exit_code == 0, run.output
    assert "all 1 caught" in run.output
    plant(tree, "bad", "return a - b", "test_zeros")
    run = CliRunner().invoke(app, ["--tree", str(tree)])
    assert run.exit_code == 1
    assert "NOT CAUGHT: bad" in run.output
    assert "good" in run.output
    (tree / "paycore" / "__init__.py").write_text(CODE.replace("+", "*"))
    run = CliRunner().invoke(app, ["--tree", str(tree)])
    assert run.exit_code == 1
    assert "bad.patch no longer applies" in run.output
