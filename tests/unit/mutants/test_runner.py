"""The runner tells what tests see from what they do not, on a tiny tree of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.mutants.__main__ import app
from tests.mutants.changes import Change, End
from tests.mutants.copies import plain
from tests.mutants.parts import PARTS, ROOT
from tests.mutants.reasons import as_toml
from tests.mutants.runs import judge

CODE = '''\
class Purse:
    """What somebody has."""

    def __init__(self, balance):
        self.balance = balance

    @property
    def available(self):
        return self.balance + 1


def spend(purse, amount):
    if amount < purse.available:
        return amount
    raise ValueError("not so much", amount)


def forgotten():
    log.info("nobody asked", answer=1)
    return 1
'''
TESTS = """\
import pytest
from paycore.domain.purse import Purse, spend

def test_what_is_there_is_spent():
    assert spend(Purse(4), 3) == 3

def test_more_is_not():
    with pytest.raises(ValueError):
        spend(Purse(4), 6)
"""
SHARPER = """
def test_the_last_unit_is_kept():
    with pytest.raises(ValueError, match="not so much") as error:
        spend(Purse(4), 5)
    assert error.value.args == ("not so much", 5)
    assert spend(Purse(4), 4) == 4
"""
WHERE = "paycore.domain.purse"
LAST_UNIT = Change(
    f"{WHERE}.spend", "if amount < purse.available:", "if amount <= purse.available:"
)
FORGOTTEN = Change(f"{WHERE}.forgotten", "return 1", "return 2")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Some code, its tests, and the plugin that is loaded into their run."""
    tree = tmp_path / "tree"
    (tree / "paycore" / "domain").mkdir(parents=True)
    (tree / "tests" / "unit" / "domain").mkdir(parents=True)
    packages = ("paycore", "paycore/domain", "tests", "tests/unit", "tests/unit/domain")
    for package in packages:
        (tree / package / "__init__.py").touch()
    (tree / "paycore" / "domain" / "purse.py").write_text(CODE)
    (tree / "tests" / "unit" / "domain" / "test_purse.py").write_text(TESTS)
    for test in PARTS["domain"].rounds[0].tests:
        if test.endswith(".py") and not test.startswith("-"):
            (tree / test).parent.mkdir(exist_ok=True)
            (tree / test).touch()
    shutil.copytree(ROOT / "tests" / "mutants", tree / "tests" / "mutants")
    shutil.copy(ROOT / "pyproject.toml", tree)
    return tree


def run(tree: Path, reasons: str) -> Result:
    written = tree / "reasons.toml"
    written.write_text(reasons)
    arguments = ["--part", "domain", "--tree", str(tree), "--reasons", str(written)]
    return CliRunner().invoke(app, arguments)


def test_what_lives_is_what_the_tests_do_not_see(tree: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    verdicts = judge(tree, folder, PARTS["domain"])
    assert verdicts[LAST_UNIT].end is End.LIVES
    assert verdicts[FORGOTTEN].end is End.UNTESTED
    available = Change(
        f"{WHERE}.Purse.available", "return self.balance + 1", "return self.balance - 1"
    )
    assert verdicts[available].end is End.SEEN
    # With a balance of 4, 3 are no longer less than what is available.
    assert verdicts[available].by.endswith("test_what_is_there_is_spent")
    assert not any("XX" in change.now for change in verdicts), "the letters of prose were changed"
    assert not any("answer" in change.was for change in verdicts), "what is logged was changed"
    assert (tree / "paycore" / "domain" / "purse.py").read_text() == CODE


def test_what_lives_without_a_reason_ends_the_run_with_1(tree: Path) -> None:
    (tree / "paycore" / "domain" / "purse.py").write_text(CODE.partition("\n\ndef forgotten")[0])
    groups = '[groups]\nharmless = "It does no harm."\n'
    sharp = (tree / "tests" / "unit" / "domain" / "test_purse.py", TESTS + SHARPER)
    entry = as_toml([LAST_UNIT], "harmless")

    unexplained = run(tree, groups)
    assert unexplained.exit_code == 1
    assert "LIVES WITHOUT A REASON: paycore.domain.purse.spend" in unexplained.output
    assert "+ if amount <= purse.available:" in unexplained.output

    sharp[0].write_text(sharp[1])
    whole = run(tree, groups)
    assert whole.exit_code == 0, whole.output

    outdated = run(tree, groups + entry)
    assert outdated.exit_code == 1
    assert "HAS A REASON, BUT DOES NOT LIVE: paycore.domain.purse.spend" in outdated.output


def test_tests_that_fail_without_any_change_show_nothing(tree: Path) -> None:
    (tree / "paycore" / "domain" / "purse.py").write_text(CODE.replace("+ 1", "- 9"))
    failed = run(tree, "")
    assert failed.exit_code == 1
    assert "fails without any change" in failed.output


def test_a_test_that_passes_only_once_shows_nothing(tree: Path) -> None:
    once = TESTS.replace("Purse(4), 3) == 3", "Purse(4), LEFT.pop()) == 3").replace(
        "import pytest\n", "import pytest\nLEFT = [3]\n"
    )
    (tree / "tests" / "unit" / "domain" / "test_purse.py").write_text(once)
    failed = run(tree, "")
    assert failed.exit_code == 1
    assert "test_what_is_there_is_spent fails when it runs again" in failed.output


def test_a_property_is_the_same_without_its_decorator() -> None:
    before: dict[str, type] = {}
    after: dict[str, type] = {}
    exec(CODE, before)  # the code above
    exec(plain(CODE), after)
    assert "@property" not in plain(CODE)
    for one in (before["Purse"](4), after["Purse"](4)):
        assert one.available == 5
        with pytest.raises(AttributeError):
            one.available = 6
