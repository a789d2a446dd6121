"""What a verification found, as node_exporter's textfile collector reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from operations.errors import UsageError
from operations.verify.chain import RULES as CHAIN_RULES
from operations.verify.report import Check
from operations.verify.rules import RULES
from operations.verify.textfile import Examined, check_folder, write_result
from operations.verify.verify import INDEX_RULE
from tests.support.scraped import Shown, parsed


def check(rule: str, examined: int, violations: int = 0) -> Check:
    return Check(RULES[rule].text, examined, RULES[rule].unit, violations)


def told(path: Path) -> Shown:
    return parsed([path.read_text()])


def test_a_run_replaces_the_last_one_of_its_kind_and_no_other(tmp_path: Path) -> None:
    good = [check("sides", 700), check("keys", 701)]
    whole = write_result(tmp_path, Examined.WHOLE, good, ended_s=1_000.5, took_s=2.5)
    bad = [check("sides", 3), Check(INDEX_RULE, 5, "transfers", 2)]
    lately = write_result(tmp_path, Examined.SINCE_LAST, bad, ended_s=2_000.0, took_s=0.5)
    shown = told(whole)
    assert shown.one("paycore_verify_held", scope="whole") == 1
    assert shown.one("paycore_verify_timestamp_seconds", scope="whole") == 1_000.5
    assert shown.one("paycore_verify_duration_seconds", scope="whole") == 2.5
    assert shown.one("paycore_verify_examined", scope="whole", rule="sides") == 700
    assert shown.find("paycore_verify_violations", scope="whole") == [0, 0]
    assert shown.find("paycore_verify_held", scope="since_last") == []
    shown = told(lately)
    assert shown.one("paycore_verify_held", scope="since_last") == 0
    assert shown.one("paycore_verify_violations", scope="since_last", rule="index") == 2
    write_result(tmp_path, Examined.SINCE_LAST, bad[:1], ended_s=3_000.0, took_s=0.5)
    shown = told(lately)
    assert shown.one("paycore_verify_held") == 1
    assert shown.find("paycore_verify_violations", rule="index") == []
    assert {path.name for path in tmp_path.iterdir()} == {whole.name, lately.name}


def test_every_rule_has_a_name_of_its_own(tmp_path: Path) -> None:
    checks = [
        *(check(rule, 1) for rule in RULES),
        *(Check(text, 1, unit, 0) for text, unit in CHAIN_RULES.values()),
        Check(INDEX_RULE, 1, "transfers", 0),
    ]
    path = write_result(tmp_path, Examined.CHAIN, checks, ended_s=1.0, took_s=1.0)
    assert told(path).total("paycore_verify_examined") == len(checks)


def test_a_folder_that_is_not_there_is_told_of_beforehand(tmp_path: Path) -> None:
    check_folder(tmp_path)
    with pytest.raises(UsageError, match="no folder"):
        check_folder(tmp_path / "elsewhere")
