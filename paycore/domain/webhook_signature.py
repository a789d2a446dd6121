"""How deliveries of webhooks are signed: Stripe's scheme, so that its verifiers verify ours.

The header is `t=<seconds since 1970>,v1=<hex>`, with a `v1` for each secret that signs: the
HMAC-SHA256, keyed with the secret's whole text, of the time as it stands in the header, a dot, and
the body.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

PREFIX = "whsec_"
SIGNATURE_HEADER = "Paycore-Signature"
EVENT_HEADER = "Paycore-Event"
DELIVERY_HEADER = "Paycore-Delivery"
ATTEMPT_HEADER = "Paycore-Attempt"


@dataclass(frozen=True, slots=True)
class WebhookSecret:
    """A secret of a subscription, never printed."""

    text: str = field(repr=False)

    def __repr__(self) -> str:
        return "WebhookSecret(***)"

    __str__ = __repr__


def signature(secret: WebhookSecret, at: str, body: bytes) -> str:
    """The hexadecimal signature of `body`; `at` is the time as the header has it."""
    signed = at.encode("ascii") + b"." + body
    return hmac.digest(secret.text.encode(), signed, "sha256").hex()


def signature_header(secrets: Sequence[WebhookSecret], at_s: int, body: bytes) -> str:
    """The header of `body`, signed with each of `secrets` at `at_s` seconds since 1970."""
    signed = (f"v1={signature(secret, str(at_s), body)}" for secret in secrets)
    return ",".join((f"t={at_s}", *signed))
