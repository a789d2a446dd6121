"""The page about crashes can be written into."""

from __future__ import annotations

from tests.bench.document import with_section
from tests.support.crashing.report import DOCUMENT, SECTION


def test_the_page_has_a_place_for_figures() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    written = with_section(text, "figures of a run", SECTION)
    assert "figures of a run" in written
    assert with_section(written, "others", SECTION).count("figures of a run") == 0
