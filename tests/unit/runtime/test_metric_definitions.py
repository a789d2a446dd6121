"""Metrics are defined with all that the page and the alerts say of them."""

from __future__ import annotations

from enum import StrEnum

import pytest
from prometheus_client import REGISTRY

from paycore.runtime.metric_definitions import (
    DEFINITIONS,
    MOST_AT_ZERO,
    Kind,
    Named,
    counter,
    of,
)


class Why(StrEnum):
    EARLY = "early"
    LATE = "late"


def shown(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def test_a_counter_shows_each_known_series_before_the_first_event() -> None:
    made = counter(
        "paycore_test_known_total", "Of tests.", unit="tests", labels={"why": of(Why, "NEVER")}
    )
    assert [shown("paycore_test_known_total", why=why) for why in ("early", "late", "NEVER")] == [
        0, 0, 0,
    ]  # fmt: skip
    made.labels(Why.LATE).inc()
    assert shown("paycore_test_known_total", why="late") == 1
    assert DEFINITIONS["paycore_test_known_total"].labels == {"why": ("early", "late", "NEVER")}
    assert DEFINITIONS["paycore_test_known_total"].kind is Kind.COUNTER


def test_a_counter_shows_nothing_beforehand_where_values_are_not_known_or_not_its_own() -> None:
    named = {"task": Named("a task")}
    counter("paycore_test_named_total", "Of tests.", unit="tests", labels=named)
    counter(
        "paycore_test_elsewhere_total",
        "Of tests.",
        unit="tests",
        labels={"why": of(Why)},
        at_zero=False,
    )
    many = {"number": tuple(map(str, range(MOST_AT_ZERO + 1)))}
    counter("paycore_test_many_total", "Of tests.", unit="tests", labels=many)
    assert [
        sample
        for family in REGISTRY.collect()
        if family.name in ("paycore_test_named", "paycore_test_elsewhere", "paycore_test_many")
        for sample in family.samples
    ] == []


def test_a_name_is_defined_once() -> None:
    counter("paycore_test_twice_total", "Of tests.", unit="tests")
    with pytest.raises(ValueError, match="Duplicated"):
        counter("paycore_test_twice_total", "Of tests.", unit="tests")
