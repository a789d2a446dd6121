"""Secrets of webhooks as they are made and stored: sealed under the data key of a subscription."""

from __future__ import annotations

import base64
import os
from struct import pack

from paycore.domain.sealed import SubjectKey
from paycore.domain.webhook_signature import PREFIX, WebhookSecret
from paycore.runtime.sealing import decrypt, encrypt

SECRET_BYTES = 32

_LABEL = b"paycore/webhook/1"


def new_secret() -> WebhookSecret:
    """One that nobody knows yet."""
    chance = base64.urlsafe_b64encode(os.urandom(SECRET_BYTES)).rstrip(b"=")
    return WebhookSecret(PREFIX + chance.decode("ascii"))


def seal_secret(secret: WebhookSecret, secret_id: int, subscription: int, key: SubjectKey) -> bytes:
    """`secret` as the row `secret_id` of `subscription` stores it: moved, it does not open."""
    return encrypt(_LABEL, [key], secret.text.encode(), _binding(secret_id, subscription, key.id))


def open_secret(sealed: bytes, secret_id: int, subscription: int, key: SubjectKey) -> WebhookSecret:
    """What was sealed. Raises SealBrokenError."""
    bound = _binding(secret_id, subscription, key.id)
    return WebhookSecret(decrypt(_LABEL, [key], sealed, bound).decode())


def _binding(secret_id: int, subscription: int, key_id: int) -> bytes:
    return pack(f">{len(_LABEL)}s3q", _LABEL, secret_id, subscription, key_id)
