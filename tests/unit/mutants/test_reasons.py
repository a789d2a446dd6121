"""The reasons that are written down fit the code as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.changes import Change
from tests.mutants.parts import ROOT, MutantsError
from tests.mutants.reasons import Reason, as_toml, read_reasons

CHANGE = Change("paycore.domain.money.f", 'return "a\\x1f"', "return None", 2)


def test_each_is_of_lines_that_still_are_in_its_module() -> None:
    reasons = read_reasons()
    assert reasons.by_change
    for change in reasons.by_change:
        package, layer, module, _ = change.where.split(".", 3)
        source = (ROOT / package / layer / f"{module}.py").read_text(encoding="utf-8")
        lines = {line.strip() for line in source.splitlines()}
        assert set(change.was.splitlines()) <= lines, change


def test_every_group_has_a_reason_in_it_and_says_something() -> None:
    reasons = read_reasons()
    assert {one.group for one in reasons.by_change.values()} == set(reasons.groups)
    assert all(reasons.groups.values())


def test_an_entry_is_read_as_it_is_proposed(tmp_path: Path) -> None:
    written = tmp_path / "reasons.toml"
    groups = '[groups]\nharmless = "It does no harm."\n'
    written.write_text(groups + as_toml([CHANGE], "harmless") + 'because = "So."\n')
    assert read_reasons(written).by_change == {CHANGE: Reason("harmless", "So.")}


@pytest.mark.parametrize(
    "text",
    [
        as_toml([CHANGE], "nosuch"),
        '[groups]\nharmless = "x"\n' + as_toml([CHANGE, CHANGE], "harmless"),
    ],
    ids=["no group", "twice"],
)
def test_what_is_no_reason_or_a_second_one_is_refused(tmp_path: Path, text: str) -> None:
    written = tmp_path / "reasons.toml"
    written.write_text(text)
    with pytest.raises(MutantsError):
        read_reasons(written)
