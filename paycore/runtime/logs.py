"""Logging: one JSON object a line on standard output, with ids and never personal data."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Mapping
from typing import Any

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor

from paycore.runtime import log_exceptions

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

log = structlog.get_logger(__name__)


def configure(service: str, level: str = "info") -> None:
    """Set up logging for this process; `service`, logger and level stand in every line.

    What libraries log through the standard module comes out in the same form, and so does an
    exception that nobody caught.
    """
    minimum = _LEVELS[level]

    def stamp(_logger: Any, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    common: list[Processor] = [
        stamp,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_quotes,
        structlog.processors.ExceptionRenderer(log_exceptions.described),
    ]
    render = structlog.processors.JSONRenderer(default=_plain)
    structlog.configure(
        processors=[*common, render],
        wrapper_class=structlog.make_filtering_bound_logger(minimum),
        logger_factory=_NamedLoggers(),
        cache_logger_on_first_use=True,
    )
    lines = logging.StreamHandler(sys.stdout)
    lines.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[_foreign_message, *common],
            processors=[ProcessorFormatter.remove_processors_meta, render],
            use_get_message=False,
            pass_foreign_args=True,
        )
    )
    lines.addFilter(_is_no_caller_that_left)
    root = logging.getLogger()
    root.handlers = [lines]
    # Only what libraries warn of is worth a line.
    root.setLevel(max(minimum, logging.WARNING))
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    sys.unraisablehook = _unraisable


def _is_no_caller_that_left(record: logging.LogRecord) -> bool:
    """grpc.aio logs it as an error where a caller goes away just as its answer is sent."""
    error = record.exc_info[1] if record.exc_info else None
    return record.name != "grpc._cython.cygrpc" or type(error).__name__ != "ExecuteBatchError"


class _NamedLogger(structlog.WriteLogger):
    def __init__(self, name: str) -> None:
        super().__init__(sys.stdout)
        self.name = name


class _NamedLoggers:
    """Makes loggers that have the name of the module that logs, as the standard ones do."""

    def __init__(self) -> None:
        self._names = structlog.stdlib.LoggerFactory(ignore_frame_names=[__name__])

    def __call__(self, *names: Any) -> _NamedLogger:
        return _NamedLogger(self._names(*names).name)


def _foreign_message(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """The message of a library's record, of which no part may be an exception's own text."""
    text, arguments = str(_shown(event["_record"].msg)), event.pop("positional_args")
    if isinstance(arguments, Mapping):
        arguments = {name: _shown(argument) for name, argument in arguments.items()}
    else:
        arguments = tuple(_shown(argument) for argument in arguments or ())
    try:
        event["event"] = text % arguments if arguments else text
    except (TypeError, ValueError, KeyError):
        # The library's own mistake; its line is still worth having.
        event["event"] = text
    return event


def _without_quotes(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Libraries repeat an exception in the message that goes with it."""
    told = event.get("exc_info")
    error = told[1] if isinstance(told, tuple) else told
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        event["event"] = log_exceptions.without_quotes(str(event["event"]), error)
    return event


def _shown(value: Any) -> Any:
    return log_exceptions.brief(value) if isinstance(value, BaseException) else value


def _plain(value: Any) -> str:
    """What JSON has no form for."""
    return log_exceptions.brief(value) if isinstance(value, BaseException) else repr(value)


def _uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    log.critical("uncaught exception", exc_info=(kind, error, trace))


def _uncaught_in_thread(caught: threading.ExceptHookArgs) -> None:
    if caught.exc_value is not None and not isinstance(caught.exc_value, SystemExit):
        log.critical("uncaught exception in a thread", exc_info=caught.exc_value)


def _unraisable(caught: sys.UnraisableHookArgs) -> None:
    log.error("exception where none can be raised", exc_info=caught.exc_value)
