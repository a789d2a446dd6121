"""The secrets of subscriptions, opened to sign with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

import structlog

from paycore.domain.sealed import SubjectKey, Unreadable
from paycore.domain.webhook_signature import WebhookSecret
from paycore.runtime.sealing import SealBrokenError
from paycore.runtime.webhook_secrets import open_secret
from projector.webhooks.store import Leased

KEYS_WITHIN_S = 5.0
"""How long a delivery waits at most for the keys of its secrets, in seconds."""

log = structlog.get_logger()


class KeysById(Protocol):
    """Who gives out data keys."""

    async def by_ids(
        self, key_ids: Collection[int], within_s: float
    ) -> Mapping[int, SubjectKey | Unreadable]:
        """Each of the keys, or why it cannot be had within `within_s` seconds."""
        ...


class Secrets:
    """Opens what signs."""

    def __init__(self, keys: KeysById) -> None:
        self._keys = keys

    async def of(self, leased: Leased) -> list[WebhookSecret] | None:
        """Those that sign now, the newest first; None where a key cannot be had for now.

        Without those whose key was destroyed, and those that do not open.
        """
        wanted = {secret.data_key for secret in leased.secrets}
        had = await self._keys.by_ids(wanted, KEYS_WITHIN_S) if wanted else {}
        secrets = []
        for stored in leased.secrets:
            key = had[stored.data_key]
            if key is Unreadable.UNAVAILABLE:
                return None
            if not isinstance(key, SubjectKey):
                continue
            try:
                secrets.append(open_secret(stored.sealed, stored.id, leased.subscription, key))
            except SealBrokenError as error:
                log.error("a webhook's secret does not open", id=stored.id, why=str(error))
        return secrets
