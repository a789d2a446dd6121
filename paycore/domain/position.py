"""Consistency tokens: where in the ledger's history a write stands."""

from __future__ import annotations

import base64
import binascii
import struct
from typing import NamedTuple

_LAYOUT = struct.Struct(">BIQQ")
_FORMAT_VERSION = 1


class Position(NamedTuple):
    """A place in the journal, ordered as a tuple.

    `epoch` names the history (it changes when a cluster is restored), `xid` is the transaction's
    id (xid8) and `journal_id` the row's Snowflake id.
    """

    epoch: int
    xid: int
    journal_id: int

    @classmethod
    def beginning(cls, epoch: int) -> Position:
        """Before all that `epoch` has: where whoever has nothing of it stands."""
        return cls(epoch, 0, 0)

    @property
    def is_beginning(self) -> bool:
        """Whether nothing of the journal is up to here."""
        return self.xid == 0

    def encode(self) -> str:
        """The opaque text that callers carry: 28 URL-safe characters."""
        return base64.urlsafe_b64encode(_LAYOUT.pack(_FORMAT_VERSION, *self)).decode("ascii")

    @classmethod
    def decode(cls, token: str) -> Position:
        """The position in `token`. Raises ValueError when it is not one of ours."""
        try:
            raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
            version, epoch, xid, journal_id = _LAYOUT.unpack(raw)
        except (UnicodeEncodeError, binascii.Error, struct.error) as error:
            raise ValueError("not a position") from error
        if version != _FORMAT_VERSION or epoch == 0:
            raise ValueError("not a position")
        return cls(epoch, xid, journal_id)
