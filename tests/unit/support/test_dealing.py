"""Files of tests are dealt out whole, in the order in which they may run, the longest early."""

from __future__ import annotations

from pathlib import Path

from tests.support.dealing import LONGEST, OUTAGES, TOGETHER, place, share_of

ROOT = Path(__file__).parents[3]
FILES = [file.relative_to(ROOT).as_posix() for file in (ROOT / "tests").rglob("test_*.py")]


def test_what_disturbs_the_stack_comes_after_everything_else() -> None:
    ordered = sorted(FILES, key=place)
    disturbing = [file for file in FILES if "/crash/" in file or file.endswith(f"/{OUTAGES}")]
    assert set(ordered[-len(disturbing) :]) == set(disturbing)


def test_only_what_shares_something_is_dealt_out_together() -> None:
    shares = {share_of(file) for file in FILES}
    assert set(TOGETHER) <= shares
    assert {file for file in FILES if share_of(file) == file} == shares - set(TOGETHER)


def test_the_longest_begin_first_and_each_of_them_is_there() -> None:
    shares = {share_of(file) for file in FILES}
    assert set(LONGEST) <= shares
    for folder in ("unit", "integration", "contract", "crash"):
        own = [share for share in LONGEST if share.startswith(f"tests/{folder}/")]
        ordered = list(dict.fromkeys(map(share_of, sorted(FILES, key=place))))
        at = [share for share in ordered if share.startswith(f"tests/{folder}/")]
        assert [share for share in at if share in own] == own
