"""The page, the alerts and the code name the same metrics, by Prometheus' rules."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from paycore.runtime.metric_definitions import SECONDS, TIMESTAMP, Definition, Kind, Named
from tools.metrics import PROCESSES, ROOT, Alert, alerts, definitions
from tools.metrics_page import generated, names, written

OF_CALLERS = {"account", "address", "client", "device", "endpoint", "key", "reference", "user"}
"""What labels must not be: there is any number of them, or callers name them."""

OF_SCRAPING = {"instance", "job", "le"}
"""Labels that Prometheus itself gives."""

WORDS = frozenset(
    {
        "absent", "and", "by", "group_left", "histogram_quantile", "increase", "max", "min", "on",
        "or", "rate", "sum", "time", "unless", "up", "without",
    }
)  # fmt: skip
"""What expressions use of PromQL, and the metric of its own."""

_SELECTOR = re.compile(r"(\b(?:paycore_\w+|up))\{([^}]*)\}")
_MATCHER = re.compile(r'(\w+)(=~|!=|!~|=)"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|on|without)\s*\(([^)]*)\)")
_STRING = re.compile(r'"[^"]*"')
_WORD = re.compile(r"(?<![\w.])[a-zA-Z_:][\w:]*")
_RULES = alerts()


@pytest.fixture(scope="module")
def everything() -> Mapping[str, Definition]:
    found: dict[str, Definition] = {}
    for process in PROCESSES:
        found.update(definitions(process))
    return found


def test_the_page_is_as_the_code_and_the_alerts_have_it() -> None:
    assert written()[1] == generated(), "write it anew: make metrics-page"


def test_what_the_page_says_by_hand_names_metrics_that_there_are(
    everything: Mapping[str, Definition],
) -> None:
    named = set(re.findall(r"`(paycore_\w+?)(?:\{[^`]*\})?`", written()[0]))
    assert named
    assert named - everything.keys() == set()


def test_names_say_type_and_unit(everything: Mapping[str, Definition]) -> None:
    assert len(everything) > 90
    for name, one in everything.items():
        assert re.fullmatch(r"paycore_[a-z]+(?:_[a-z]+)*", name)
        assert name.endswith("_total") == (one.kind is Kind.COUNTER), name
        assert name.endswith("_timestamp_seconds") == (one.unit == TIMESTAMP), name
        assert name.endswith("_seconds") == (one.unit in (SECONDS, TIMESTAMP)), name
        assert one.text.endswith("."), name
        assert one.unit, name


def test_labels_are_bounded(everything: Mapping[str, Definition]) -> None:
    for name, one in everything.items():
        assert not OF_CALLERS & one.labels.keys(), name
        for values in one.labels.values():
            assert isinstance(values, Named) or len(set(values)) == len(values) > 1, name


def asked(alert: Alert) -> Iterator[tuple[str, str, str, str]]:
    """Metric, label, operator and value of each matcher."""
    for name, inside in _SELECTOR.findall(alert.expression):
        for label, operator, value in _MATCHER.findall(inside):
            yield name, label, operator, value


@pytest.mark.parametrize("alert", _RULES, ids=[alert.name for alert in _RULES])
def test_an_alert_asks_for_what_there_is(
    alert: Alert, everything: Mapping[str, Definition]
) -> None:
    wanted = names(alert.expression)
    assert wanted or "up{" in alert.expression
    assert wanted - everything.keys() == set()
    known = {label for name in wanted for label in everything[name].labels} | OF_SCRAPING
    for inside in _GROUPING.findall(alert.expression):
        assert set(inside.replace(",", " ").split()) <= known
    told = re.findall(r"\$labels\.(\w+)", alert.summary + alert.action)
    assert set(told) <= known
    for name, label, operator, value in asked(alert):
        if name == "up":
            assert label == "job"
            continue
        [whole] = names(name)
        assert label in everything[whole].labels
        values = everything[whole].labels[label]
        if not isinstance(values, Named):
            alternatives = value.split("|") if operator in ("=~", "!~") else [value]
            assert set(alternatives) <= set(values)
    bare = _STRING.sub("", re.sub(r"\{[^}]*\}|\[\w+\]", "", alert.expression))
    words = set(_WORD.findall(_GROUPING.sub("", bare)))
    assert {word for word in words if not word.startswith("paycore_")} <= WORDS


@pytest.mark.parametrize("alert", _RULES, ids=[alert.name for alert in _RULES])
def test_an_alert_says_what_to_do(alert: Alert) -> None:
    assert alert.severity in ("page", "ticket")
    assert len(alert.action) > 40
    if alert.runbook is not None:
        path, _, anchor = alert.runbook.partition("#")
        assert not anchor or anchor in anchors(ROOT / path)


def test_alerts_have_names_of_their_own() -> None:
    assert len({alert.name for alert in _RULES}) == len(_RULES) > 30


def test_all_that_an_operator_must_be_told_of_has_an_alert() -> None:
    """A metric without one is for looking at; of these each means that somebody has to act."""
    watched = {name for alert in _RULES for name in names(alert.expression)}
    assert {
        "paycore_breaker_state",
        "paycore_database_pool_wait_seconds",
        "paycore_id_lease_remaining_seconds",
        "paycore_projector_behind_seconds",
        "paycore_projector_dead_letters_kept",
        "paycore_projector_watermark_age_seconds",
        "paycore_queue_wait_seconds",
        "paycore_rejected_rows_total",
        "paycore_verify_held",
        "paycore_verify_timestamp_seconds",
    } <= watched


def anchors(page: Path) -> set[str]:
    """What can stand behind # of a link to `page`, as GitHub makes it of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
