"""A pytest plugin that writes down how each test ended, and whose code it ran.

It is loaded into the run of tests in a copy (`-p tests.teeth.witness`).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

REPORT_VARIABLE = "PAYCORE_TEETH_REPORT"
"""Path of the JSON file that is written at the end of a run."""

PACKAGES = (
    "paycore",
    "database",
    "command_service",
    "signing_service",
    "projector",
    "query_service",
    "operations",
    "deploy",
    "tests",
)
"""Whose code must be the copy's."""

_ends: dict[str, dict[str, object]] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note the first phase that did not pass, or that all did."""
    report = yield
    end = _ends.setdefault(item.nodeid, {"outcome": "passed"})
    if end["outcome"] == "passed" and report.outcome != "passed":
        end["outcome"], end["phase"] = report.outcome, report.when
        if call.excinfo is not None:
            end["exceptions"] = [type(one).__name__ for one in _leaves(call.excinfo.value)]
            end["asserted"] = all(map(_is_asserted, _leaves(call.excinfo.value)))
            # An assertion of a helper says nothing by itself: then what it states.
            stated = str(call.excinfo.traceback[-1].statement).strip()
            end["said"] = str(next(_leaves(call.excinfo.value))) or stated
    return report


def pytest_sessionfinish() -> None:
    """Write all down."""
    files = {}
    for name, module in sys.modules.items():
        file = getattr(module, "__file__", None)
        if file is not None and name.partition(".")[0] in PACKAGES:
            files[name] = str(Path(file).resolve())
    Path(os.environ[REPORT_VARIABLE]).write_text(json.dumps({"ends": _ends, "files": files}))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error


def _is_asserted(error: BaseException) -> bool:
    # A test that ran out of time failed too, but asserts nothing by it.
    missed = isinstance(error, pytest.fail.Exception) and str(error).startswith("DID NOT RAISE")
    return isinstance(error, AssertionError) or missed
