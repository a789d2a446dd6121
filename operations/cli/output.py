"""What a command prints: text for people, JSON for programs; and its exit code.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 a part cannot be reached (try again).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import typer
import uvloop
from pydantic import ValidationError
from rich.console import Console, RenderableType
from rich.text import Text

from deploy.local import StackError
from operations.deployment import UnknownIdentityError
from operations.errors import UnavailableError, UsageError
from operations.money import format_money
from operations.views.as_is import as_is
from paycore.client import model, search, statements, statistics, stream_events
from paycore.client.errors import (
    ClientError,
    HandshakeError,
    RefusedError,
    StepUpRequiredError,
    TransportError,
)
from paycore.domain.errors import RETRYABLE

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 3

AMOUNTS = frozenset(
    {"amount", "available", "needed", "remaining", "requested", "shortfall", "threshold"}
)
UNTOLD = frozenset({"position", "currency"})

CLIENT_VALUES = frozenset(
    module.__name__ for module in (model, search, statements, statistics, stream_events)
)
"""Modules of the values whose integers are written as texts."""

MAX_EXACT = 2**53
"""Beyond it a double does not hold every integer."""

Result = TypeVar("Result")


class Output:
    """Standard output in one of its two forms."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(highlight=False, emoji=False)
        self._errors = Console(stderr=True, highlight=False, emoji=False)

    def show(self, text: RenderableType, value: object) -> None:
        """Print `text`, or `value` as JSON."""
        if self.as_json:
            typer.echo(json.dumps(plain(value), indent=2))
        else:
            self.console.print(text)

    def line(self, text: str | Text, value: object) -> None:
        """Print one of many as it comes: `text`, or `value` as JSON, each on a line."""
        if self.as_json:
            typer.echo(json.dumps(plain(value)))
        else:
            self.console.print(text, soft_wrap=True)

    def fail(self, error: Exception) -> NoReturn:
        """Print `error` and end with its exit code. Raises typer.Exit."""
        if self.as_json:
            typer.echo(json.dumps({"error": _error_fields(error)}, indent=2))
        else:
            for line in _heading(error).splitlines():
                self._errors.print(as_is(line, "bold red"), soft_wrap=True)
            for line in _advice(error):
                self._errors.print(as_is(f"  {line}", "dim"), soft_wrap=True)
        raise typer.Exit(exit_code(error)) from error


HANDLED = (
    ClientError,
    StackError,
    UnknownIdentityError,
    UsageError,
    UnavailableError,
    ValidationError,
)


def run(output: Output, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run `work` in an event loop; what it raises becomes a message and an exit code."""
    try:
        return uvloop.run(work())
    except HANDLED as error:
        output.fail(error)


def exit_code(error: Exception) -> int:
    """The exit code that tells scripts what sort of failure `error` is."""
    match error:
        case RefusedError(reason=reason):
            return EXIT_UNAVAILABLE if reason in RETRYABLE else EXIT_FAILED
        case TransportError() | UnavailableError() | HandshakeError():
            return EXIT_UNAVAILABLE
        case UsageError() | UnknownIdentityError() | ValidationError():
            return EXIT_USAGE
        case StackError():
            return EXIT_UNAVAILABLE
        case _:
            return EXIT_FAILED


def _heading(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(item["msg"].removeprefix("Value error, ") for item in error.errors())
    return str(error)


def _advice(error: Exception) -> list[str]:
    lines: list[str] = []
    if isinstance(error, RefusedError):
        lines += [f"{violation.field}: {violation.description}" for violation in error.violations]
        lines += _figures(error.metadata)
    if isinstance(error, StepUpRequiredError):
        lines.append("the payer must approve this payment: add --pin")
    if isinstance(error, ClientError) and error.outcome_unknown and error.idempotency_key:
        lines.append(
            f"it may have been carried out: repeat it with --key {error.idempotency_key} to be sure"
        )
    return lines


def _figures(metadata: Mapping[str, str]) -> list[str]:
    """Metadata with amounts as people write them, without what only programs need."""
    currency = metadata.get("currency", "")
    return [
        f"{name}: {format_money(int(value), currency) if name in AMOUNTS and currency else value}"
        for name, value in sorted(metadata.items())
        if name not in UNTOLD
    ]


def _error_fields(error: Exception) -> dict[str, object]:
    fields: dict[str, object] = {"message": _heading(error)}
    if isinstance(error, RefusedError):
        fields = {
            "reason": error.reason.value,
            "message": error.message,
            "metadata": dict(error.metadata),
            "violations": plain(list(error.violations)),
            "retry_after_ms": error.retry_after_ms,
        }
    if isinstance(error, ClientError):
        fields["outcome_unknown"] = error.outcome_unknown
        fields["idempotency_key"] = error.idempotency_key
        fields["request_id"] = error.request_id
    return fields


def plain(value: object) -> Any:
    """`value` as JSON holds it; times are ISO 8601.

    Integers of the client's values are decimal texts, as in protobuf's JSON mapping, and so are any
    others beyond MAX_EXACT: many readers of JSON hold numbers as doubles and would change an id.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        as_text = type(value).__module__ in CLIENT_VALUES
        fields = ((each.name, getattr(value, each.name)) for each in dataclasses.fields(value))
        return {
            name: str(item) if as_text and type(item) is int else plain(item)
            for name, item in fields
        }
    match value:
        case Enum():
            return value.value
        case Path():
            return str(value)
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case int() if abs(value) > MAX_EXACT:
            return str(value)
        case _:
            return value
