"""The README can be followed as it stands."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = [path.read_text(encoding="utf-8") for path in (ROOT / "docs/examples").glob("*.py")]


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_commands_run_in_the_environment_that_make_sets_up() -> None:
    for text in (README, *EXAMPLES):
        assert re.findall(r"(?<![\w/])python (?:-m|docs/)[^`]*", text) == []


def test_modules_that_are_to_be_run_are_there() -> None:
    modules = re.findall(r"python -m ([\w.]+)", README)
    assert modules
    for module in modules:
        assert (ROOT / module.replace(".", "/") / "__main__.py").exists()
