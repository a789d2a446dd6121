"""The generated part of docs/performance.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.document import BEGIN, END, MarkersError, save_section, with_section
from tests.bench.machine import ROOT

BEFORE = "# Performance\n\nWritten by hand.\n\n"
AFTER = "\n\n## How to measure\n\nAlso by hand.\n"


def test_only_what_is_between_the_markers_changes() -> None:
    text = f"{BEFORE}{BEGIN}\nold figures\n{END}{AFTER}"
    assert with_section(text, "| new |") == f"{BEFORE}{BEGIN}\n\n| new |\n\n{END}{AFTER}"


def test_writing_the_same_figures_again_changes_nothing() -> None:
    once = with_section(f"{BEFORE}{BEGIN}{END}{AFTER}", "figures\n")
    assert with_section(once, "figures") == once


@pytest.mark.parametrize(
    "text",
    [
        "",
        BEGIN,
        END,
        f"{END}\n{BEGIN}",
        f"{BEGIN}\n{BEGIN}\n{END}",
        f"{BEGIN}\n{END}\n{END}",
    ],
)
def test_a_document_without_a_clear_place_is_refused(text: str) -> None:
    with pytest.raises(MarkersError):
        with_section(text, "figures")


def test_a_refused_document_keeps_its_content(tmp_path: Path) -> None:
    path = tmp_path / "performance.md"
    path.write_text("by hand")
    with pytest.raises(MarkersError):
        save_section(path, "figures")
    assert path.read_text() == "by hand"


def test_the_document_is_rewritten_in_place(tmp_path: Path) -> None:
    path = tmp_path / "performance.md"
    path.write_text(f"{BEFORE}{BEGIN}\n{END}{AFTER}")
    save_section(path, "1 µs")
    assert path.read_text(encoding="utf-8") == f"{BEFORE}{BEGIN}\n\n1 µs\n\n{END}{AFTER}"


def test_the_repository_has_a_place_for_the_figures() -> None:
    with_section((ROOT / "docs" / "performance.md").read_text(encoding="utf-8"), "figures")
