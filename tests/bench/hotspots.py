"""Sorting what cProfile saw into parts of the system.

What cProfile adds to each call is measured and taken out; shares still say more than figures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TRANSPORT = "event loop, gRPC core and TLS"
OTHER_THREADS = "gRPC's other threads"

# The first that a file's path contains names its group.
GROUPS = (
    ("command_service/servicers/", "servicer: parse, reply"),
    ("command_service/admission/", "admission"),
    ("command_service/posting/engine", "engine: queue, batches"),
    ("command_service/posting/", "rows and queries"),
    ("command_service/transactions", "rows and queries"),
    ("database/__init__", "rows and queries"),
    ("paycore/domain/", "domain: planning, hashes"),
    ("paycore/runtime/server", "gate: identity, access, deadline, mapping"),
    ("paycore/runtime/access", "gate: identity, access, deadline, mapping"),
    ("paycore/runtime/tls", "gate: identity, access, deadline, mapping"),
    ("paycore/runtime/limits", "rate limit, with redis-py"),
    ("/redis/", "rate limit, with redis-py"),
    ("paycore/runtime/snowflake", "ids"),
    ("/snowflake/", "ids"),
    ("prometheus_client/", "metrics"),
    ("/asyncpg/", "asyncpg"),
    ("/asyncio/", "asyncio"),
    ("/google/", "protobuf"),
    ("/grpc/", "grpc's Python code"),
)
OTHER = "other Python code"

DEPTH = 6
"""How many calls up the owner of a function without a group is looked for."""

DEAREST = 15
"""Functions that are shown."""

Function = tuple[str, int, str]
"""File, line and name, as pstats has them; the file is `~` for C functions."""

Functions = Mapping[
    Function, tuple[int, int, float, float, Mapping[Function, tuple[int, int, float, float]]]
]
"""As pstats has them: calls without recursion, calls, own and whole seconds, and by caller."""


@dataclass(frozen=True, slots=True)
class Share:
    """One group of code, or one function."""

    name: str
    percent: float
    """Of the process's processor time."""
    each_us: float
    """Microseconds per transfer, profiler's cost included."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One load's profile."""

    load: str
    transfers: int
    groups: tuple[Share, ...]
    functions: tuple[Share, ...]
    """The dearest, without what they call."""


def summarize(
    load: str, transfers: int, functions: Functions, times: Mapping[str, float]
) -> Profile:
    """Sort a profile's own times into groups.

    `functions` are pstats' entries, `times` what the worker wrote. Functions of no group, such as
    C functions and the standard library's, count to those that call them; protobuf's to protobuf.
    What the loop's thread computed outside any Python function is the transport. The profiler's own
    cost, half of it in the callee and half in the caller, is taken out.
    """
    own_s = _without_profiler(functions, times["event_s"])
    groups: defaultdict[str, float] = defaultdict(float)
    for function, seconds in own_s.items():
        for group, part in _belonging(function, functions, DEPTH).items():
            groups[group] += seconds * part
    calls = sum(entry[1] for entry in functions.values())
    loop_s = times["loop_s"] - calls * times["event_s"]
    groups[TRANSPORT] += max(0.0, loop_s - sum(groups.values()))
    groups[OTHER_THREADS] = max(0.0, times["process_s"] - times["loop_s"])
    whole_s = sum(groups.values())

    def shares(seconds: Mapping[str, float]) -> tuple[Share, ...]:
        return tuple(
            Share(name, 100 * each_s / whole_s, each_s * 1e6 / transfers)
            for name, each_s in sorted(seconds.items(), key=lambda item: -item[1])
            if each_s > 0
        )

    named = {_name(function): seconds for function, seconds in own_s.items()}
    return Profile(load, transfers, shares(groups), shares(named)[:DEAREST])


def _without_profiler(functions: Functions, event_s: float) -> dict[Function, float]:
    """Own seconds of each function without what the profiler added."""
    events = dict.fromkeys(functions, 0)
    for function, (_, calls, _, _, callers) in functions.items():
        events[function] += calls
        for caller, (_, part, _, _) in callers.items():
            events[caller] = events.get(caller, 0) + part
    return {
        function: max(0.0, entry[2] - events[function] * event_s / 2)
        for function, entry in functions.items()
    }


def _belonging(function: Function, functions: Functions, depth: int) -> dict[str, float]:
    """Which groups a function's own time belongs to, in parts of 1."""
    group = group_of(function)
    callers = functions[function][4] if function in functions else {}
    weights = {caller: entry[2] for caller, entry in callers.items() if caller != function}
    whole = sum(weights.values())
    if group is not None:
        return {group: 1.0}
    if depth == 0 or whole <= 0:
        return {OTHER: 1.0}
    parts: defaultdict[str, float] = defaultdict(float)
    for caller, weight in weights.items():
        for name, part in _belonging(caller, functions, depth - 1).items():
            parts[name] += part * weight / whole
    return parts


def group_of(function: Function) -> str | None:
    """The group that a function's own time belongs to; None where that is its callers'."""
    path, _, name = function
    if _is_protobuf(function):
        return "protobuf"
    if path == "~":
        return TRANSPORT if "grpc" in name else None
    return next((group for part, group in GROUPS if part in path), None)


def _is_protobuf(function: Function) -> bool:
    return function[0] == "~" and "google._upb" in function[2]


def _name(function: Function) -> str:
    path, line, name = function
    return name if path == "~" else f"{'/'.join(Path(path).parts[-2:])}:{line} {name}"
