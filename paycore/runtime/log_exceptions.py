"""What a log line may tell of an exception: where it came from, and none of the data it quotes."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

QUOTING = frozenset({"asyncpg", "psycopg", "elasticsearch", "elastic_transport", "redis"})
"""Packages whose exceptions quote values of rows and requests: their text is never logged."""

MOST_EXCEPTIONS = 10
"""Exceptions of one chain that are described."""

MOST_FRAMES = 50
"""Frames of one exception that are described: the innermost."""

MOST_TEXT = 1_000
"""Characters of an exception's text that are logged."""

LEAST_QUOTE = 3
"""Shorter texts say nothing, and would be found in every message."""

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def described(exc_info: _ExcInfo) -> list[dict[str, Any]]:
    """The exception, then what led to it: each with class, SQLSTATE, text and stack if it may."""
    return [_one(error) for error in _chain(exc_info[1])]


def brief(error: BaseException) -> str:
    """One exception in a few words."""
    state = _sqlstate(error)
    name = type(error).__name__ if state is None else f"{type(error).__name__} {state}"
    text = _text(error)
    return f"{name}: {text}" if text else name


def without_quotes(message: str, error: BaseException) -> str:
    """`message` without the texts that `error`, or what led to it, may not show."""
    quotes = {quote for one in _chain(error) if _quotes(one) for quote in _texts(one)}
    for quote in sorted(quotes, key=len, reverse=True):
        message = message.replace(quote, "***")
    return message


def _one(error: BaseException) -> dict[str, Any]:
    kind = type(error)
    told: dict[str, Any] = {"class": f"{kind.__module__}.{kind.__qualname__}"}
    if state := _sqlstate(error):
        told["sqlstate"] = state
    if text := _text(error):
        told["text"] = text
    frames = traceback.StackSummary.extract(
        traceback.walk_tb(error.__traceback__), limit=-MOST_FRAMES, lookup_lines=False
    )
    told["stack"] = [f"{frame.filename}:{frame.lineno}:{frame.name}" for frame in frames]
    return told


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    ahead = [error]
    while ahead and len(found) < MOST_EXCEPTIONS:
        one = ahead.pop(0)
        if any(one is earlier for earlier in found):
            continue
        found.append(one)
        if isinstance(one, BaseExceptionGroup):
            ahead.extend(one.exceptions)
        led = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
        if led is not None:
            ahead.append(led)
    return found


def _quotes(error: BaseException) -> bool:
    return any(kind.__module__.partition(".")[0] in QUOTING for kind in type(error).__mro__)


def _text(error: BaseException) -> str:
    return "" if _quotes(error) else str(error)[:MOST_TEXT]


def _texts(error: BaseException) -> Iterator[str]:
    parts = (str(error), repr(error), *(part for part in error.args if isinstance(part, str)))
    for part in parts:
        if len(part) >= LEAST_QUOTE:
            yield part


def _sqlstate(error: BaseException) -> str | None:
    state = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else None
