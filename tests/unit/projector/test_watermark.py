"""The time up to which the journal is complete."""

from __future__ import annotations

from projector.watermark import Watermark

MS = 1_000


def test_without_open_transactions_the_journal_is_complete_until_now() -> None:
    watermark = Watermark()
    assert watermark.observe(100 * MS, 7, 7) == 100 * MS
    assert watermark.observe(200 * MS, 9, 9) == 200 * MS


def test_an_open_transaction_holds_the_time_at_which_it_was_not_there_yet() -> None:
    watermark = Watermark()
    watermark.observe(100 * MS, 7, 7)
    assert watermark.observe(200 * MS, 7, 8) == 100 * MS
    assert watermark.observe(300 * MS, 7, 12) == 100 * MS


def test_under_load_it_is_the_last_time_whose_transactions_have_all_ended() -> None:
    watermark = Watermark()
    watermark.observe(100 * MS, 7, 10)
    watermark.observe(200 * MS, 8, 20)
    assert watermark.observe(300 * MS, 10, 30) == 100 * MS
    assert watermark.observe(400 * MS, 19, 40) == 100 * MS
    assert watermark.observe(500 * MS, 20, 50) == 200 * MS
    assert watermark.observe(600 * MS, 45, 60) == 400 * MS
    assert watermark.observe(700 * MS, 70, 70) == 700 * MS


def test_a_transaction_that_was_open_before_the_first_look_is_not_called_complete() -> None:
    watermark = Watermark()
    assert watermark.observe(100 * MS, 5, 9) == 100 * MS
    assert watermark.observe(900 * MS, 5, 30) == 100 * MS


def test_a_stall_without_end_takes_bounded_memory_and_errs_towards_older() -> None:
    watermark = Watermark()
    watermark.observe(0, 5, 5)
    for step in range(1, 10_000):
        assert watermark.observe(step * 20 * MS, 5, 5 + step) == 0
    last = 9_999
    assert watermark.observe((last + 1) * 20 * MS, 5 + last, 6 + last) <= last * 20 * MS
