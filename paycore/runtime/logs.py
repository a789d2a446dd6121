"""Logging: one JSON object a line on standard output, with ids and never personal data."""

from __future__ import annotations

import logging
import sys

import structlog

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(service: str, level: str = "info") -> None:
    """Set up logging for this process; `service` and the level stand in every line."""
    minimum = _LEVELS[level]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(minimum),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stdout),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    # Libraries log through the standard module; only what they warn of is worth a line.
    logging.basicConfig(
        level=max(minimum, logging.WARNING),
        stream=sys.stdout,
        format='{"service": "' + service + '", "level": "%(levelname)s", "logger": "%(name)s"}',
    )
