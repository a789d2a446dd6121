"""Where a person acted from, as security events keep it: sealed, and hinted at.

A trace is sealed under the data keys of the user whom the event is about and of who acted, as the
details of a transfer are, and is gone with either. Its hints let whoever has the trail's key look
for a device or an address that they know. A hint is 16 bits of a keyed hash: one in 65,536 other
values has the same, so that trying every address there is names none.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from ipaddress import ip_address
from typing import NamedTuple, Protocol

from paycore.domain.errors import PaycoreError
from paycore.domain.sealed import SubjectKey
from paycore.domain.subjects import is_subject, subjects_of
from paycore.runtime.metric_definitions import counter
from paycore.runtime.sealing import decrypt, encrypt

HINT_BYTES = 2

KEYS_WITHIN_S = 0.5
"""How long rows wait for the keys of their traces, in seconds; without them they are hinted at."""

AT_A_STRETCH = 25
"""Traces sealed before calls get a turn: about a millisecond."""

KEPT = counter(
    "paycore_security_event_traces_total",
    "Traces of persons written with security events: SEALED, or HINTED, since a key could not be"
    " had or nobody is named whose key it would be.",
    unit="traces",
    labels={"how": ("SEALED", "HINTED")},
)

_LABEL = b"paycore/trace/1"
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


AUDITED = "AUDITED"
"""Stands for the event in what a row of ledger.audit is bound to: one command may make several."""


class Person(NamedTuple):
    """Who acted, by the `actor` of a request; each part may be missing. Never printed."""

    user_id: str | None = None
    device_id: str | None = None
    ip_address: str | None = None

    def __repr__(self) -> str:
        return "Person(***)"


class Bound(NamedTuple):
    """What of its row a trace is sealed with: moved to another row, it does not open."""

    first_us: int
    event: str
    client: str | None
    user_id: str | None

    def with_keys(self, key_ids: Sequence[int]) -> bytes:
        """All of it in bytes."""
        return _encode((_LABEL.decode(), *self, *key_ids)).encode()


class Trace(NamedTuple):
    """A person's trace as a row keeps it."""

    device_hint: str | None = None
    address_hint: str | None = None
    owner_key: int | None = None
    actor_key: int | None = None
    sealed: bytes | None = None


class Hinted(StrEnum):
    """What a hint is of: the same text as a device and as an address has two."""

    DEVICE = "DEVICE"
    ADDRESS = "ADDRESS"


class SubjectKeys(Protocol):
    """Who gives out data keys."""

    async def of_subjects(
        self, subjects: Sequence[str], within_s: float
    ) -> Mapping[str, SubjectKey | PaycoreError]:
        """The key in force of each, or why it cannot be had within `within_s` seconds."""
        ...


def hint(secret: bytes, of: Hinted, text: str | None) -> str | None:
    """The hint at `text` in hexadecimal; None of nothing. `secret` is the trail's key."""
    if not text:
        return None
    named = one_way(text) if of is Hinted.ADDRESS else text
    hashed = hashlib.blake2b(
        f"{of.value}\0{named}".encode(),
        digest_size=HINT_BYTES,
        key=secret,
        person=b"paycore-trail",
    )
    return hashed.hexdigest()


def seal_trace(person: Person, keys: Sequence[SubjectKey], bound: Bound) -> bytes:
    """`person` as only all of `keys` open it, in a row with `bound`."""
    plaintext = _encode((person.user_id, person.device_id, person.ip_address)).encode()
    return encrypt(_LABEL, keys, plaintext, bound.with_keys([key.id for key in keys]))


def open_trace(sealed: bytes, keys: Sequence[SubjectKey], bound: Bound) -> Person:
    """What was sealed. Raises SealBrokenError."""
    return Person(
        *json.loads(decrypt(_LABEL, keys, sealed, bound.with_keys([key.id for key in keys])))
    )


class Tracer:
    """Turns persons into traces; never fails, and waits for keys KEYS_WITHIN_S at most."""

    def __init__(self, secret: bytes, keys: SubjectKeys) -> None:
        """`secret` is the trail's key, 32 bytes."""
        self._secret = secret
        self._keys = keys

    async def traces(self, persons: Sequence[tuple[Person | None, Bound]]) -> list[Trace]:
        """The trace of each, in order; an empty one where nothing is known of a person."""
        subjects = [_subjects(person, bound) for person, bound in persons]
        wanted = list(dict.fromkeys(one for some in subjects for one in some))
        keys = await self._keys.of_subjects(wanted, KEYS_WITHIN_S) if wanted else {}
        traces: list[Trace] = []
        for (person, bound), mine in zip(persons, subjects, strict=True):
            if len(traces) % AT_A_STRETCH == AT_A_STRETCH - 1:
                await asyncio.sleep(0)
            traces.append(self._trace(person, bound, [keys[one] for one in mine]))
        return traces

    def _trace(
        self, person: Person | None, bound: Bound, keys: Sequence[SubjectKey | PaycoreError]
    ) -> Trace:
        if person is None or not (person.device_id or person.ip_address):
            return Trace()
        hints = Trace(
            hint(self._secret, Hinted.DEVICE, person.device_id),
            hint(self._secret, Hinted.ADDRESS, person.ip_address),
        )
        had = [key for key in keys if isinstance(key, SubjectKey)]
        if not had or len(had) < len(keys):
            KEPT.labels("HINTED").inc()
            return hints
        KEPT.labels("SEALED").inc()
        return hints._replace(
            owner_key=had[0].id,
            actor_key=had[1].id if len(had) > 1 else None,
            sealed=seal_trace(person, had, bound),
        )


def _subjects(person: Person | None, bound: Bound) -> Sequence[str]:
    """Whose the trace is: theirs whom the event is about, and of who acted. Nobody's if neither is
    named."""
    if person is None or not (person.device_id or person.ip_address):
        return ()
    about, acted = bound.user_id or person.user_id or "", person.user_id or ""
    subjects = subjects_of(about, acted)
    # Under one key alone it would outlive the other's erasure.
    return subjects if all(map(is_subject, subjects)) else ()


def one_way(address: str) -> str:
    """`address` as it is written in one way; whatever is none, as it is."""
    try:
        return ip_address(address).compressed
    except ValueError:
        return address
