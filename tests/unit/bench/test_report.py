"""What a run's results look like as JSON and Markdown."""

from __future__ import annotations

import json

from tests.bench.figures import Latency, Row, Sample
from tests.bench.hotspots import Profile, Share
from tests.bench.report import Report, markdown, to_json

RAW = Row(
    "raw", "raw", "posting SQL", "transfers", "",
    (
        Sample(24_000.0, Latency(10.0, 20.0), {"postgres": 30.0}),
        Sample(26_000.0, Latency(11.0, 25.0), {"postgres": 32.0}),
        Sample(30_000.0, Latency(12.0, 21.0), {"postgres": 34.0}),
    ),
)  # fmt: skip
BULK = Row(
    "bulk-alone", "bulk", "SubmitTransfers of 500", "transfers", "raw",
    (Sample(13_000.0, Latency(0.0456, 123.4), {"command": 50.0, "postgres": 31.0}, "told"),),
)  # fmt: skip
REPORT = Report(
    "python -m tests.bench",
    "2026-01-02 03:04 UTC",
    {"cores": "2"},
    {"accounts": "10"},
    [RAW, BULK],
    [Profile("bulk", 10, (Share("asyncpg", 60.0, 6.0),), (Share("a.py:1 f", 40.0, 4.0),))],
)


def test_markdown_names_command_date_and_machine() -> None:
    text = markdown(REPORT)
    assert "`python -m tests.bench`, 2026-01-02 03:04 UTC." in text
    assert "- cores: 2\n- accounts: 10" in text


def test_markdown_shows_medians_shares_targets_and_verdicts() -> None:
    lines = markdown(REPORT).splitlines()
    assert (
        "| posting SQL | 26,000 transfers | 24,000 to 30,000 | 11.0 | 21.0 |  | 32 |  | 25,000/s "
        "| yes |" in lines
    )
    assert (
        "| SubmitTransfers of 500 | 13,000 transfers | 13,000 to 13,000 | 0.046 | 123 "
        "| 50% of raw | 81 | 40% | 60% | no |" in lines
    )
    assert "- SubmitTransfers of 500: told" in lines


def test_markdown_shows_processor_time_with_blanks_where_a_part_took_none() -> None:
    lines = markdown(REPORT).splitlines()
    assert "| processor µs per transfer or call | postgres | command |" in lines
    assert "| posting SQL | 32 |  |" in lines
    assert "| SubmitTransfers of 500 | 31 | 50 |" in lines


def test_json_holds_every_repetition_and_the_comparison() -> None:
    content = json.loads(json.dumps(to_json(REPORT)))
    raw, bulk = content["rows"]
    assert raw["rate"] == {"median": 26_000.0, "low": 24_000.0, "high": 30_000.0}
    assert [sample["rate"] for sample in raw["samples"]] == [24_000.0, 26_000.0, 30_000.0]
    assert (raw["reached"], bulk["reached"], bulk["ratio"]) == (True, False, 0.5)
    assert content["profiles"][0]["groups"] == [
        {"name": "asyncpg", "percent": 60.0, "each_us": 6.0}
    ]
