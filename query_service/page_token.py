"""Page tokens: opaque to callers, and good only for the client and the filter they were made for.

A token is format version, place, and a truncated HMAC-SHA256 over both together with the client
and the filter: 33 bytes, which base64 writes without padding, so no two texts are the same token.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import struct

from paycore.domain.errors import PaycoreError, invalid_field
from query_service.readers.port import PageKey, TransferFilter
from query_service.readers.search_port import SearchFilter

Filter = TransferFilter | SearchFilter

KEY_BYTES = 32

_PLACE = struct.Struct(">Bqq")
_FORMAT_VERSION = 1
_MAC_BYTES = 16
_TOKEN_CHARACTERS = (_PLACE.size + _MAC_BYTES) * 4 // 3


class PageTokens:
    """Makes and opens page tokens under one secret key of KEY_BYTES bytes."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a page token key has {KEY_BYTES} bytes")
        self._key = key

    def seal(self, place: PageKey, client: str, wanted: Filter) -> str:
        """The token with which `client` goes on below `place` in the list of `wanted`."""
        packed = _PLACE.pack(_FORMAT_VERSION, *place)
        raw = packed + self._mac(packed, client, wanted)
        return base64.urlsafe_b64encode(raw).decode("ascii")

    def open(self, token: str, client: str, wanted: Filter) -> PageKey:
        """The place in `token`.

        Raises PaycoreError INVALID_FIELD naming page_token when it was altered, or made for another
        client, filter or key.
        """
        if len(token) != _TOKEN_CHARACTERS:
            raise _refused()
        try:
            raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error) as error:
            raise _refused() from error
        packed, mac = raw[: _PLACE.size], raw[_PLACE.size :]
        if not hmac.compare_digest(mac, self._mac(packed, client, wanted)):
            raise _refused()
        _, created_at_us, transfer = _PLACE.unpack(packed)
        return PageKey(created_at_us, transfer)

    def _mac(self, packed: bytes, client: str, wanted: Filter) -> bytes:
        bound = json.dumps([client, *_fields(wanted)]).encode("ascii")
        return hmac.digest(self._key, packed + bound, hashlib.sha256)[:_MAC_BYTES]


def _fields(wanted: Filter) -> list[object]:
    if isinstance(wanted, SearchFilter):
        return _searched(wanted)
    return [
        wanted.account,
        wanted.start_us,
        wanted.end_us,
        sorted(wanted.kinds),
        wanted.counterparty,
        wanted.min_amount,
        wanted.max_amount,
        wanted.reference,
        wanted.include_declines,
    ]


def _searched(wanted: SearchFilter) -> list[object]:
    return [
        "search",
        wanted.words,
        wanted.metadata,
        wanted.account,
        wanted.counterparty,
        wanted.start_us,
        wanted.end_us,
        sorted(wanted.kinds),
        wanted.currency,
        wanted.min_amount,
        wanted.max_amount,
        wanted.include_declines,
    ]


def _refused() -> PaycoreError:
    return invalid_field(
        "page_token", "is not a token of this list: repeat the filter it came with, unaltered"
    )
