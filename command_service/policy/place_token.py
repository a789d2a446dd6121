"""Page tokens of the lists of policy: opaque, and good only for the list they were made for.

A token is a truncated HMAC-SHA256 over list, caller, filter and place, and the place itself as
JSON.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence

from paycore.domain.errors import PaycoreError, invalid_field

MAX_TOKEN = 4_096
_MAC_BYTES = 16


class PlaceTokens:
    """Tokens of one list."""

    def __init__(self, secret: bytes, listed: str) -> None:
        """`listed` is the name of the list, unlike that of every other."""
        self._secret = secret
        self._listed = listed

    def seal(self, place: Sequence[str], caller: str, wanted: str | None) -> str:
        """The token with which `caller` goes on after `place` in the list filtered by `wanted`."""
        packed = json.dumps(place).encode("ascii")
        mac = self._mac(packed, caller, wanted)
        return base64.urlsafe_b64encode(mac + packed).decode("ascii")

    def open(self, token: str, caller: str, wanted: str | None) -> list[str]:
        """The place in `token`; nothing where it is empty.

        Raises PaycoreError INVALID_FIELD naming page_token.
        """
        if not token:
            return []
        if len(token) > MAX_TOKEN:
            raise _refused()
        try:
            raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error) as error:
            raise _refused() from error
        mac, packed = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(packed, caller, wanted)):
            raise _refused()
        place: list[str] = json.loads(packed)
        return place

    def _mac(self, packed: bytes, caller: str, wanted: str | None) -> bytes:
        bound = json.dumps([f"paycore.{self._listed}", caller, wanted]).encode("ascii")
        return hmac.digest(self._secret, bound + packed, hashlib.sha256)[:_MAC_BYTES]


def _refused() -> PaycoreError:
    return invalid_field(
        "page_token", "is not a token of this list: repeat the filter it came with, unaltered"
    )
