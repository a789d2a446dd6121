"""Numbers are given when their time is up, in its order, and cost nothing once dropped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from command_service.admission.risk.by_time import SLACK, ByTime


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "drop", "due"]), st.integers(0, 9), st.integers(0, 100))
    )
)
def test_it_is_what_a_plain_table_would_be(steps: list[tuple[str, int, int]]) -> None:
    kept, table = ByTime(), dict[int, int]()
    for step, number, time_s in steps:
        match step:
            case "put":
                kept.put(number, time_s)
                table[number] = time_s
            case "drop":
                kept.drop(number)
                table.pop(number, None)
            case _:
                due = list(kept.due(time_s))
                assert sorted(due) == sorted(one for one, at in table.items() if at <= time_s)
                assert [table[one] for one in due] == sorted(table[one] for one in due)
                table = {one: at for one, at in table.items() if at > time_s}
        assert len(kept) == len(table)


def test_what_was_dropped_takes_no_room() -> None:
    kept = ByTime()
    for number in range(10_000):
        kept.put(number, 60.0)
        kept.drop(number)
        assert kept.size <= SLACK
