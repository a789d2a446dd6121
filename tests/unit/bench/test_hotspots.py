"""Sorting a profile's functions into groups."""

from __future__ import annotations

import pytest

from tests.bench.hotspots import OTHER, OTHER_THREADS, TRANSPORT, Function, group_of, summarize

POST = ("/somewhere/command_service/posting/engine.py", 10, "post")
PLAN = ("/somewhere/paycore/domain/planning.py", 20, "plan")
APPEND = ("~", 0, "<method 'append' of 'list' objects>")
JSON = ("/usr/lib/python3/json/decoder.py", 1, "decode")
PARSE = ("~", 0, "<method 'FromString' of 'google._upb._message.MessageMeta' objects>")


@pytest.mark.parametrize(
    ("function", "group"),
    [
        (POST, "engine: queue, batches"),
        (PLAN, "domain: planning, hashes"),
        (PARSE, "protobuf"),
        (("/v/site-packages/asyncpg/connection.py", 1, "fetch"), "asyncpg"),
        (("/v/site-packages/redis/client.py", 1, "parse"), "rate limit, with redis-py"),
        (JSON, None),
        (APPEND, None),
    ],
)
def test_a_file_names_its_group(function: Function, group: str | None) -> None:
    assert group_of(function) == group


def test_every_second_is_counted_once() -> None:
    functions = {
        POST: (1, 1, 2.0, 9.0, {}),
        PLAN: (1, 1, 1.0, 3.0, {POST: (1, 1, 1.0, 3.0)}),
        # Called twice as long by the one as by the other.
        APPEND: (3, 3, 3.0, 3.0, {POST: (1, 1, 1.0, 1.0), PLAN: (2, 2, 2.0, 2.0)}),
        PARSE: (1, 1, 1.0, 1.0, {POST: (1, 1, 1.0, 1.0)}),
    }
    found = summarize("load", 10, functions, {"process_s": 10.0, "loop_s": 8.0, "event_s": 0.0})
    shares = {share.name: share for share in found.groups}
    assert {name: share.percent for name, share in shares.items()} == pytest.approx(
        {
            "engine: queue, batches": 30.0,
            "domain: planning, hashes": 30.0,
            "protobuf": 10.0,
            TRANSPORT: 10.0,
            OTHER_THREADS: 20.0,
        }
    )
    assert shares["protobuf"].each_us == pytest.approx(100_000)
    assert found.functions[0].name == "<method 'append' of 'list' objects>"


def test_a_library_function_belongs_to_those_who_call_it_however_deep() -> None:
    functions = {
        POST: (1, 1, 1.0, 4.0, {}),
        JSON: (1, 1, 1.0, 3.0, {POST: (1, 1, 1.0, 3.0)}),
        APPEND: (1, 1, 2.0, 2.0, {JSON: (1, 1, 2.0, 2.0)}),
    }
    found = summarize("load", 1, functions, {"process_s": 4.0, "loop_s": 4.0, "event_s": 0.0})
    assert [share.name for share in found.groups] == ["engine: queue, batches"]
    assert found.groups[0].percent == pytest.approx(100.0)


def test_functions_that_only_call_each_other_belong_to_nobody() -> None:
    functions = {
        JSON: (1, 1, 1.0, 2.0, {APPEND: (1, 1, 1.0, 1.0)}),
        APPEND: (1, 1, 1.0, 2.0, {JSON: (1, 1, 1.0, 1.0)}),
    }
    found = summarize("load", 1, functions, {"process_s": 2.0, "loop_s": 2.0, "event_s": 0.0})
    assert [share.name for share in found.groups] == [OTHER]


def test_what_the_profiler_costs_is_taken_out() -> None:
    functions = {
        POST: (1, 1, 2.0, 8.0, {}),
        PLAN: (2, 2, 6.0, 6.0, {POST: (2, 2, 6.0, 6.0)}),
    }
    # Three calls of one second each: half of each in the callee, half in the caller.
    found = summarize("load", 1, functions, {"process_s": 9.0, "loop_s": 9.0, "event_s": 1.0})
    seconds = {share.name: share.each_us / 1e6 for share in found.groups}
    assert seconds == pytest.approx(
        {
            "domain: planning, hashes": 5.0,
            "engine: queue, batches": 0.5,
            TRANSPORT: 0.5,
        }
    )
