"""Sorting a profile's functions into groups."""

from __future__ import annotations

import pytest

from tests.bench.profile import OTHER_THREADS, TRANSPORT, Function, group_of, summarize

POST = ("/somewhere/command_service/posting/engine.py", 10, "post")
PLAN = ("/somewhere/paycore/domain/planning.py", 20, "plan")
APPEND = ("~", 0, "<method 'append' of 'list' objects>")
PARSE = ("~", 0, "<method 'FromString' of 'google._upb._message.MessageMeta' objects>")


@pytest.mark.parametrize(
    ("function", "group"),
    [
        (POST, "engine: queue, batches"),
        (PLAN, "domain: planning, hashes"),
        (PARSE, "protobuf"),
        (("/v/site-packages/asyncpg/connection.py", 1, "fetch"), "asyncpg"),
        (("/v/site-packages/redis/client.py", 1, "parse"), "rate limit, with redis-py"),
        (("/usr/lib/python3/json/decoder.py", 1, "decode"), "other Python code"),
    ],
)
def test_a_file_names_its_group(function: Function, group: str) -> None:
    assert group_of(function) == group


def test_every_second_is_counted_once() -> None:
    functions = {
        POST: (1, 1, 2.0, 9.0, {}),
        PLAN: (1, 1, 1.0, 3.0, {POST: (1, 1, 1.0, 3.0)}),
        # Called from both, and half a second of it by the loop itself.
        APPEND: (4, 4, 2.0, 2.0, {POST: (1, 1, 0.5, 0.5), PLAN: (2, 2, 1.0, 1.0)}),
        PARSE: (1, 1, 1.0, 1.0, {POST: (1, 1, 1.0, 1.0)}),
    }
    found = summarize("load", 10, functions, {"process_s": 10.0, "loop_s": 8.0})
    shares = {share.name: share for share in found.groups}
    assert {name: share.percent for name, share in shares.items()} == pytest.approx(
        {
            "engine: queue, batches": 25.0,
            "domain: planning, hashes": 20.0,
            "protobuf": 10.0,
            TRANSPORT: 25.0,
            OTHER_THREADS: 20.0,
        }
    )
    assert shares["protobuf"].each_us == pytest.approx(100_000)
    assert found.functions[0].name == "posting/engine.py:10 post"
