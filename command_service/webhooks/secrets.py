"""The secrets of subscriptions: made, sealed, and opened for who lost the reply with one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from command_service.webhooks.changes import SealedSecret
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.sealed import SubjectKey, Unreadable
from paycore.domain.webhook_signature import WebhookSecret
from paycore.domain.webhooks import key_subject
from paycore.runtime.data_keys import RETRY_AFTER_MS, DataKeys
from paycore.runtime.sealing import SealBrokenError
from paycore.runtime.webhook_secrets import new_secret, open_secret, seal_secret

KEYS_WITHIN_S = 1.5
"""How long a command waits at most for the key of its secret, in seconds."""

log = structlog.get_logger()


class Secrets:
    """Seals under the data keys that the signing service keeps."""

    def __init__(self, keys: DataKeys) -> None:
        self._keys = keys

    async def make(
        self, secret_id: int, subscription: int, within_s: float
    ) -> tuple[WebhookSecret, SealedSecret]:
        """A new secret, open and sealed. Raises PaycoreError SIGNER_UNAVAILABLE or OVERLOADED."""
        subject = key_subject(subscription)
        found = await self._keys.of_subjects([subject], min(KEYS_WITHIN_S, within_s))
        key = found[subject]
        if isinstance(key, PaycoreError):
            raise key
        secret = new_secret()
        sealed = seal_secret(secret, secret_id, subscription, key)
        return secret, SealedSecret(secret_id, subscription, key.id, sealed)

    async def reveal(self, row: Mapping[str, Any], within_s: float) -> WebhookSecret | None:
        """What a row of find_secret holds; None where its key was destroyed, or it does not open.

        Raises PaycoreError SIGNER_UNAVAILABLE.
        """
        key_id = row["data_key"]
        key = (await self._keys.by_ids([key_id], min(KEYS_WITHIN_S, within_s)))[key_id]
        if key is Unreadable.UNAVAILABLE:
            raise PaycoreError(
                Reason.SIGNER_UNAVAILABLE,
                "the key of the secret cannot be had",
                retry_after_ms=RETRY_AFTER_MS,
            )
        if not isinstance(key, SubjectKey):
            return None
        try:
            return open_secret(row["sealed"], row["id"], row["subscription"], key)
        except SealBrokenError as error:
            log.error("a webhook's secret does not open", id=row["id"], why=str(error))
            return None
