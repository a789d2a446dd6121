"""The chain of seals over the journal: what is hashed, byte by byte (docs/seal.md).

`encode` is the binary form in which PostgreSQL sends a row (`record_send`), so that the hash of a
row can be reckoned there or here.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

Field = int | str | bytes

_COUNT = struct.Struct(">i")
_HEAD = struct.Struct(">ii")
_NUMBER = struct.Struct(">iiq")
_BYTES, _INTEGER, _TEXT = 17, 20, 25

DIGEST_BYTES = 32
BEGINNING = bytes(DIGEST_BYTES)
"""What the first seal has for the hash of the one before it."""


class JournalFields(NamedTuple):
    """A row of the journal. Lists are in the order in which the row has them."""

    xid: int
    id: int
    created_at_us: int
    transfers: Sequence[int]
    declines: Sequence[int]
    accounts: Sequence[int]
    erased_keys: Sequence[int]


class SealedRow(NamedTuple):
    """A row of the journal by its place, and the hash of all that it wrote."""

    xid: int
    journal_id: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Seal:
    """A run of journal rows, in the order of (xid, id), that follows on the one before it."""

    number: int
    """Gap-free from 1."""
    epoch: int
    """The epoch of the ledger when it was made."""
    first_xid: int
    first_id: int
    last_xid: int
    last_id: int
    journal_rows: int
    sealed_at_us: int
    previous: bytes
    """The hash of the seal before; BEGINNING for the first."""
    digests: bytes
    """Those of the journal rows, one after the other."""
    hash: bytes = b""

    @property
    def first(self) -> tuple[int, int]:
        return self.first_xid, self.first_id

    @property
    def last(self) -> tuple[int, int]:
        return self.last_xid, self.last_id


def encode(*fields: Field) -> bytes:
    """The count of `fields`; then of each its type, its length in bytes and its value.

    Integers are of 8 bytes, texts UTF-8.
    """
    parts = [_COUNT.pack(len(fields))]
    for field in fields:
        match field:
            case int():
                parts.append(_NUMBER.pack(_INTEGER, 8, field))
            case str():
                raw = field.encode()
                parts += [_HEAD.pack(_TEXT, len(raw)), raw]
            case bytes():
                parts += [_HEAD.pack(_BYTES, len(field)), field]
    return b"".join(parts)


def row_digest(row: JournalFields, leaves: Iterable[bytes]) -> bytes:
    """The hash of a journal row and of what it names: `leaves` are the hashes of its transfers,
    declines and accounts, in this order."""
    own = encode(
        "journal",
        row.xid,
        row.id,
        row.created_at_us,
        _listed(row.transfers),
        _listed(row.declines),
        _listed(row.accounts),
        _listed(row.erased_keys),
    )
    return hashlib.sha256(own + b"".join(leaves)).digest()


def seal_hash(seal: Seal) -> bytes:
    """The hash of a seal's content, whatever hash it says it has."""
    content = encode(
        "seal",
        seal.number,
        seal.epoch,
        seal.first_xid,
        seal.first_id,
        seal.last_xid,
        seal.last_id,
        seal.journal_rows,
        seal.sealed_at_us,
        seal.previous,
        hashlib.sha256(seal.digests).digest(),
    )
    return hashlib.sha256(content).digest()


def next_seal(last: Seal | None, rows: Sequence[SealedRow], *, epoch: int, now_us: int) -> Seal:
    """The seal of `rows`, at least one, all of them after those of `last`."""
    first, end = rows[0], rows[-1]
    open_seal = Seal(
        number=1 if last is None else last.number + 1,
        epoch=epoch,
        first_xid=first.xid,
        first_id=first.journal_id,
        last_xid=end.xid,
        last_id=end.journal_id,
        journal_rows=len(rows),
        sealed_at_us=now_us,
        previous=BEGINNING if last is None else last.hash,
        digests=b"".join(row.digest for row in rows),
    )
    return replace(open_seal, hash=seal_hash(open_seal))


def _listed(keys: Sequence[int]) -> str:
    return ",".join(map(str, keys))
