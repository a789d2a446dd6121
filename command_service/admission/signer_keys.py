"""The signing service's public keys, as the command service knows them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.step_up import Authorization, signed_bytes
from paycore.runtime.clock import Clock

MAX_KEYS = 1_000
"""More keys than a signing service ever has: a longer list is refused, not kept."""

REFRESH_INTERVAL_S = 1.0
"""Authorizations by unknown keys make us ask for the list at most this often, in seconds."""

Fetch = Callable[[], Awaitable[Mapping[str, bytes]]]


class AuthorizationKeys:
    """Ed25519 keys by id. They never change, so a known one is never asked for again."""

    def __init__(self, fetch: Fetch, clock: Clock) -> None:
        """`fetch` asks for all raw keys by id and may raise PaycoreError."""
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str, Ed25519PublicKey] = {}
        self._refresh = asyncio.Lock()
        self._refreshed_s: float | None = None

    async def verify(self, authorization: Authorization) -> None:
        """Raise PaycoreError AUTHORIZATION_INVALID unless one of the keys signed `authorization`.

        Asks for the keys when the one named is unknown, and then raises what that raises.
        """
        key = await self._find(authorization.key_id)
        try:
            key.verify(authorization.signature, signed_bytes(authorization))
        except (InvalidSignature, ValueError) as error:
            raise _invalid("the signature does not verify") from error

    async def _find(self, key_id: str) -> Ed25519PublicKey:
        known = self._keys.get(key_id)
        if known is None:
            # One question at a time: those who waited find what the first one brought.
            async with self._refresh:
                known = self._keys.get(key_id)
                if known is None and self._may_refresh():
                    await self._refresh_keys()
                    known = self._keys.get(key_id)
        if known is None:
            raise _invalid("the signing key is unknown")
        return known

    def _may_refresh(self) -> bool:
        last_s = self._refreshed_s
        return last_s is None or self._clock.monotonic_s() - last_s >= REFRESH_INTERVAL_S

    async def _refresh_keys(self) -> None:
        raw = await self._fetch()
        if len(raw) > MAX_KEYS:
            raise PaycoreError(Reason.INTERNAL, "the signing service lists too many keys")
        try:
            fetched = {name: Ed25519PublicKey.from_public_bytes(key) for name, key in raw.items()}
        except ValueError as error:
            raise PaycoreError(
                Reason.INTERNAL, "the signing service lists a key that is none"
            ) from error
        self._keys = fetched
        self._refreshed_s = self._clock.monotonic_s()


def _invalid(why: str) -> PaycoreError:
    return PaycoreError(
        Reason.AUTHORIZATION_INVALID, "the authorization is not valid", {"why": why}
    )
