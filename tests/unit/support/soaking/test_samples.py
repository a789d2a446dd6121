"""What is seen of processes and of histograms."""

from __future__ import annotations

import os

import pytest

from tests.support.soaking.samples import Histogram, Needs, Samples, of_process

NEVER = float("inf")


def histogram(*counts: int) -> Histogram:
    """Cumulative, up to 0.1 s, 1 s and without a bound."""
    return Histogram(dict(zip((0.1, 1.0, NEVER), counts, strict=True)), 0.0)


def test_a_share_of_the_values_is_within_a_bound() -> None:
    some = histogram(50, 99, 100)
    assert (some.within_s(50), some.within_s(99), some.within_s(100)) == (0.1, 1.0, NEVER)
    assert histogram(0, 0, 0).within_s(99) is None


def test_what_came_since_is_the_difference_and_all_of_a_process_that_began_anew() -> None:
    assert histogram(5, 8, 9).since(histogram(4, 5, 5)) == histogram(1, 3, 4)
    assert histogram(1, 2, 3).since(histogram(4, 5, 5)) == histogram(1, 2, 3)
    assert histogram(1, 2, 3).since(None) == histogram(1, 2, 3)


def test_a_store_is_the_sum_of_its_processes_at_each_look() -> None:
    samples = Samples()
    samples.needs["postgres", 1] = [Needs(0.0, 10, 4, 3), Needs(1.0, 11, 4, 3)]
    samples.needs["postgres", 2] = [Needs(1.0, 5, 1, 2)]
    samples.needs["command", 3] = [Needs(0.0, 99, 9, 9)]
    assert samples.of_stores() == {"postgres": [Needs(0.0, 10, 4, 3), Needs(1.0, 16, 5, 5)]}
    assert [process for process, _ in samples.of_service()] == [("command", 3)]


@pytest.mark.parametrize("part", ["command", "postgres"])
def test_a_process_is_seen_as_it_is(part: str) -> None:
    before = of_process(part, os.getpid(), 0.0)
    kept, (reading, writing) = bytearray(b"x" * 50_000_000), os.pipe()
    after = of_process(part, os.getpid(), 1.0)
    os.close(reading)
    os.close(writing)
    assert after.descriptors == before.descriptors + 2
    assert after.private - before.private >= 0.9 * len(kept)
    assert after.resident - before.resident >= 0.9 * len(kept)


def test_of_a_process_that_is_gone_nothing_is_seen() -> None:
    with pytest.raises((FileNotFoundError, ProcessLookupError)):
        of_process("command", 2**22 + 1, 0.0)
