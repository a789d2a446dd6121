"""Resume tokens: opaque to callers, and good only for the client and the watch they were made for.

A token is format version, epoch, place, and a truncated HMAC-SHA256 over these together with client
and watch: 45 bytes, which base64 writes without padding, so no two texts are the same token.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import struct
from typing import NamedTuple

from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, invalid_field
from query_service.watching.port import DeclinePlace, Place

_PLACE = struct.Struct(">BIqqq")
_FORMAT_VERSION = 1
_MAC_BYTES = 16
TOKEN_CHARACTERS = (_PLACE.size + _MAC_BYTES) * 4 // 3


class WatchKey(NamedTuple):
    """What a token is bound to."""

    client: str
    account: AccountId
    declines: bool


class WatchTokens:
    """Makes and opens resume tokens under a key of their own, derived from that of page tokens."""

    def __init__(self, page_token_key: bytes) -> None:
        self._key = hmac.digest(page_token_key, b"paycore resume tokens 1", hashlib.sha256)

    def seal(self, place: Place, epoch: int, bound: WatchKey) -> str:
        """The token with which a watch goes on after `place`."""
        packed = _PLACE.pack(_FORMAT_VERSION, epoch, place.version, *place.decline)
        raw = packed + self._mac(packed, bound)
        return base64.urlsafe_b64encode(raw).decode("ascii")

    def open(self, token: str, bound: WatchKey) -> tuple[Place, int]:
        """The place in `token`, and its epoch.

        Raises PaycoreError INVALID_FIELD naming start_position when it was altered, or made for
        another client, account or key.
        """
        try:
            raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error) as error:
            raise refused() from error
        packed, mac = raw[: _PLACE.size], raw[_PLACE.size :]
        if len(packed) < _PLACE.size or not hmac.compare_digest(mac, self._mac(packed, bound)):
            raise refused()
        _, epoch, version, xid, decline = _PLACE.unpack(packed)
        return Place(version, DeclinePlace(xid, decline)), epoch

    def _mac(self, packed: bytes, bound: WatchKey) -> bytes:
        text = json.dumps(bound).encode("ascii")
        return hmac.digest(self._key, packed + text, hashlib.sha256)[:_MAC_BYTES]


def refused() -> PaycoreError:
    """The refusal of a text that is neither a position nor a token of the watch."""
    return invalid_field(
        "start_position",
        "is neither a position from a reply nor a resume_token of this watch: repeat the account "
        "and include_declines that it came with",
    )
