"""For those who receive webhooks: whether a delivery came from paycore, now, unaltered.

event = verify(secret, request.headers["Paycore-Signature"], body, now=time.time())
"""

from __future__ import annotations

import hmac
import json
import math
from typing import Any

from paycore.domain.webhook_signature import WebhookSecret, signature

TOLERANCE_S = 300
MAX_HEADER = 4_096

__all__ = [
    "BadBodyError",
    "MalformedSignatureError",
    "SignatureMismatchError",
    "SignatureTooOldError",
    "WebhookError",
    "verify",
]


class WebhookError(Exception):
    """The delivery is not to be believed: answer 400."""


class MalformedSignatureError(WebhookError):
    """The header is missing or cannot be read."""


class SignatureMismatchError(WebhookError):
    """Nobody who knows the secret signed this body."""


class SignatureTooOldError(WebhookError):
    """It was signed at another time than now: the clock is wrong, or somebody repeats it."""


class BadBodyError(WebhookError):
    """It is signed, and no JSON object."""


def verify(
    secret: str | WebhookSecret,
    header: str | None,
    body: bytes,
    *,
    now: float,
    tolerance_s: float = TOLERANCE_S,
) -> dict[str, Any]:
    """The event in `body`, which must be the bytes as they were received.

    `now` is in seconds since 1970; a signature of more than `tolerance_s` before or after it is
    refused. Takes the same time whatever is wrong with a signature. Raises WebhookError.
    """
    known = secret if isinstance(secret, WebhookSecret) else WebhookSecret(secret)
    at, signatures = _parsed(header)
    expected = signature(known, at, body).encode()
    matched = False
    for one in signatures:
        matched |= hmac.compare_digest(expected, one.encode("ascii", "replace"))
    if not matched:
        raise SignatureMismatchError("no signature is of this body and secret")
    # `not <=`, so that a time that is not a number is refused.
    if not abs(now - int(at)) <= tolerance_s or not math.isfinite(now):
        raise SignatureTooOldError(f"not signed within {tolerance_s} s of now")
    try:
        event = json.loads(body)
    except ValueError as error:
        raise BadBodyError("the body is not JSON") from error
    if not isinstance(event, dict):
        raise BadBodyError("the body is not a JSON object")
    return event


def _parsed(header: str | None) -> tuple[str, list[str]]:
    """The time, as it is written, and the signatures."""
    if not header or len(header) > MAX_HEADER:
        raise MalformedSignatureError("no signature")
    times: list[str] = []
    signatures: list[str] = []
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        if name == "t":
            times.append(value)
        elif name == "v1":
            signatures.append(value)
    # Schemes of other names are left out: a later one may be beside.
    if len(times) != 1 or not _is_time(times[0]):
        raise MalformedSignatureError("no single time")
    if not signatures:
        raise MalformedSignatureError("no v1")
    return times[0], signatures


def _is_time(text: str) -> bool:
    return 0 < len(text) <= 12 and text.isascii() and text.isdigit()
