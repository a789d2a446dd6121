"""Every line of a process is one JSON object, and none quotes what an exception quotes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

CANARY = "canary-4711"

PREAMBLE = f"""
import asyncio, gc, logging, sys, threading, warnings
import asyncpg, structlog
from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime import logs

CANARY = {CANARY!r}
log = structlog.get_logger()
library = logging.getLogger("some.library")

def violation():
    return asyncpg.PostgresError.new({{
        "C": "23505", "S": "ERROR", "M": f"duplicate key {{CANARY}}",
        "D": f"Key (owner)=({{CANARY}}) already exists.",
    }})

def violate():
    raise violation()

logs.configure("command", "info")
"""


def lines_of(script: str) -> list[dict[str, Any]]:
    """What a process that runs `script` logs; it writes nothing else."""
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + script], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert CANARY not in done.stdout
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    for line in lines:
        assert {"event", "level", "logger", "service", "timestamp"} <= line.keys()
        assert line["service"] == "command"
    return lines


def only(script: str) -> dict[str, Any]:
    (line,) = lines_of(script)
    return line


def test_our_line_has_message_logger_and_level() -> None:
    line = only("log.info('serving', port=7000)")
    assert (line["event"], line["logger"], line["level"]) == ("serving", "__main__", "info")
    assert line["port"] == 7000


def test_a_librarys_line_has_its_message_logger_and_level() -> None:
    line = only("library.warning('lost %s of %d\\nretrying', 'node', 3)")
    assert line["event"] == "lost node of 3\nretrying"
    assert (line["logger"], line["level"]) == ("some.library", "warning")


def test_a_librarys_line_with_named_arguments_or_none() -> None:
    script = "library.error('%(count)d left', {'count': 2}); library.error('100% full')"
    assert [line["event"] for line in lines_of(script)] == ["2 left", "100% full"]


def test_a_line_whose_arguments_do_not_fit_is_kept() -> None:
    assert only("library.error('lost %d', 'node')")["event"] == "lost %d"


def test_below_the_level_nothing_is_logged() -> None:
    assert lines_of("log.debug('x'); library.info('y')") == []


@pytest.mark.parametrize("logger", ["log", "library"])
def test_an_exception_is_told_by_class_state_and_stack(logger: str) -> None:
    line = only(f"""
try:
    violate()
except Exception:
    {logger}.exception("batch failed")
""")
    assert line["event"] == "batch failed"
    assert line["level"] == "error"
    (told,) = line["exception"]
    assert told["class"] == "asyncpg.exceptions.UniqueViolationError"
    assert told["sqlstate"] == "23505"
    assert "text" not in told
    assert told["stack"][-1].startswith("<string>:")
    assert [place.rsplit(":", 1)[1] for place in told["stack"]] == ["<module>", "violate"]


@pytest.mark.parametrize("logger", ["log", "library"])
def test_a_chain_is_told_to_its_end(logger: str) -> None:
    line = only(f"""
try:
    try:
        violate()
    except Exception as error:
        raise PaycoreError(Reason.INTERNAL, "no more ids") from error
except Exception:
    {logger}.exception("batch failed")
""")
    assert [told["class"].rsplit(".", 1)[1] for told in line["exception"]] == [
        "PaycoreError",
        "UniqueViolationError",
    ]
    assert "no more ids" in line["exception"][0]["text"]


def test_members_of_a_group_are_told() -> None:
    line = only("""
try:
    raise ExceptionGroup("two tasks", [violation(), OSError("no route")])
except Exception:
    log.exception("batch failed")
""")
    assert [told.get("text") for told in line["exception"]] == [
        "two tasks (2 sub-exceptions)",
        None,
        "no route",
    ]


@pytest.mark.parametrize(
    ("script", "event"),
    [
        ("library.error('failed: %s', violation())", "failed: UniqueViolationError 23505"),
        ("library.error('%(e)s', {'e': violation()})", "UniqueViolationError 23505"),
        ("library.error(violation())", "UniqueViolationError 23505"),
        ("library.error('failed: %s', OSError('no route'))", "failed: OSError: no route"),
        ("e = violation(); library.error(f'failed: {e}', exc_info=e)", "failed: ***"),
        ("e = violation(); log.error(f'failed: {e!r}', exc_info=e)", "failed: ***"),
    ],
)
def test_an_exception_in_a_message_is_told_in_brief(script: str, event: str) -> None:
    assert only(script)["event"] == event


def test_an_exception_as_a_value_is_told_in_brief() -> None:
    line = only("log.warning('lost', error=violation(), all=[violation(), OSError('no route')])")
    assert line["error"] == "UniqueViolationError 23505"
    assert line["all"] == ["UniqueViolationError 23505", "OSError: no route"]


def test_a_task_whose_exception_nobody_took_is_one_line() -> None:
    line = only("""
async def main():
    async def failing():
        violate()
    asyncio.create_task(failing())
    await asyncio.sleep(0.01)
    gc.collect()
asyncio.run(main())
""")
    assert line["logger"] == "asyncio"
    assert "never retrieved" in line["event"]
    assert line["exception"][0]["sqlstate"] == "23505"


@pytest.mark.parametrize(
    "script",
    ["violate()", "t = threading.Thread(target=violate); t.start(); t.join()"],
)
def test_an_exception_that_nobody_caught_is_one_line(script: str) -> None:
    line = only(script)
    assert line["level"] == "critical"
    assert line["exception"][0]["sqlstate"] == "23505"


def test_a_warning_is_one_line() -> None:
    line = only("warnings.warn('old ways', UserWarning)")
    assert "old ways" in line["event"]
    assert (line["logger"], line["level"]) == ("py.warnings", "warning")


@pytest.mark.parametrize(("kind", "lines"), [("ExecuteBatchError", 0), ("InternalError", 1)])
def test_a_caller_that_leaves_as_its_answer_is_sent_is_no_error(kind: str, lines: int) -> None:
    told = lines_of(f"""
from grpc._cython import cygrpc
try:
    raise cygrpc.{kind}("Failed")
except Exception:
    logging.getLogger("grpc._cython.cygrpc").exception("raised in core by servicer method [/S/M]")
""")
    assert len(told) == lines
