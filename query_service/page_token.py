"""Page tokens: opaque to callers, and good only for the client and the filter they were made for.

A token is format version, place, the position that page one showed, and a truncated HMAC-SHA256
over these together with the client and the filter: 63 bytes, which base64 writes without padding,
so no two texts are the same token. With the position, another source goes on with the walk only
once it has all that page one's had: no row is missing because it is behind.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import struct
from dataclasses import astuple
from typing import NamedTuple

from paycore.domain.errors import PaycoreError, invalid_field
from paycore.domain.position import Position
from query_service.readers.port import PageKey, StatementFilter, StatementPlace, TransferFilter
from query_service.readers.search_port import SearchFilter

KEY_BYTES = 32

_LAYOUT = struct.Struct(">BqqqIQQ")
_FORMAT_VERSION = 2
_MAC_BYTES = 18
_TOKEN_CHARACTERS = (_LAYOUT.size + _MAC_BYTES) * 4 // 3
_NO_POSITION = Position(0, 0, 0)

Listed = TransferFilter | SearchFilter
Filter = Listed | StatementFilter


class Walk(NamedTuple):
    """Where a walk through a list goes on, and what its first page showed."""

    place: PageKey
    shown: Position | None


class StatementWalk(NamedTuple):
    """The same for a statement."""

    place: StatementPlace
    shown: Position | None


class PageTokens:
    """Makes and opens page tokens under one secret key of KEY_BYTES bytes."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a page token key has {KEY_BYTES} bytes")
        self._key = key

    def seal(
        self, place: PageKey, client: str, wanted: Listed, shown: Position | None = None
    ) -> str:
        """The token with which `client` goes on below `place` in the list of `wanted`."""
        return self._seal((*place, 0), shown, client, wanted)

    def open(self, token: str, client: str, wanted: Listed) -> PageKey:
        """The place in `token`.

        Raises PaycoreError INVALID_FIELD naming page_token when it was altered, or made for another
        client, filter or key.
        """
        return self.walk(token, client, wanted).place

    def walk(self, token: str, client: str, wanted: Listed) -> Walk:
        """All that is in `token`. Raises as `open` does."""
        (created_at_us, transfer, _), shown = self._open(token, client, wanted)
        return Walk(PageKey(created_at_us, transfer), shown)

    def seal_statement(
        self, place: StatementPlace, client: str, wanted: StatementFilter, shown: Position | None
    ) -> str:
        """The token with which `client` goes on behind `place` in the statement of `wanted`."""
        return self._seal(place, shown, client, wanted)

    def statement_walk(self, token: str, client: str, wanted: StatementFilter) -> StatementWalk:
        """All that is in the `token` of a statement. Raises as `open` does."""
        place, shown = self._open(token, client, wanted)
        return StatementWalk(StatementPlace(*place), shown)

    def _seal(
        self, place: tuple[int, int, int], shown: Position | None, client: str, wanted: Filter
    ) -> str:
        packed = _LAYOUT.pack(_FORMAT_VERSION, *place, *(shown or _NO_POSITION))
        raw = packed + self._mac(packed, client, wanted)
        return base64.urlsafe_b64encode(raw).decode("ascii")

    def _open(
        self, token: str, client: str, wanted: Filter
    ) -> tuple[tuple[int, int, int], Position | None]:
        if len(token) != _TOKEN_CHARACTERS:
            raise _refused()
        try:
            raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error) as error:
            raise _refused() from error
        packed, mac = raw[: _LAYOUT.size], raw[_LAYOUT.size :]
        if not hmac.compare_digest(mac, self._mac(packed, client, wanted)):
            raise _refused()
        _, first, second, third, *position = _LAYOUT.unpack(packed)
        shown = Position(*position)
        return (first, second, third), None if shown == _NO_POSITION else shown

    def _mac(self, packed: bytes, client: str, wanted: Filter) -> bytes:
        bound = json.dumps([client, *_fields(wanted)]).encode("ascii")
        return hmac.digest(self._key, packed + bound, hashlib.sha256)[:_MAC_BYTES]


def _fields(wanted: Filter) -> list[object]:
    if isinstance(wanted, StatementFilter):
        return ["statement", *astuple(wanted)]
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
