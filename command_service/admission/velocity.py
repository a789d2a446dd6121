"""How many different payees and identifiers one device may touch within a time.

Decided by the database under a lock of the device, so that no number of processes or of payments at
once lets one more through; and without the database nothing passes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.identifiers import ExternalIdentifier
from paycore.domain.limits import Limit, VelocityLimit
from paycore.domain.rules import PAYER_INITIATED
from paycore.domain.transfers import TransferCommand
from paycore.runtime.limits.rate import ADMITTED, DECISIONS, POSTGRES, REFUSED
from paycore.runtime.limits.table import LimitTable

PAYEE = "PAYEE"
IDENTIFIER = "IDENTIFIER"

_HASH_BYTES = 16
_ADMITTED = DECISIONS.labels(Limit.VELOCITY.value, ADMITTED, POSTGRES)
_REFUSED = DECISIONS.labels(Limit.VELOCITY.value, REFUSED, POSTGRES)


class Bound(NamedTuple):
    """At most so many different ones of a kind within a time."""

    kind: str
    most: int
    window_s: int


class TouchStore(Protocol):
    """Remembers what devices touched, for all processes."""

    async def touch_together(self, device: bytes, subjects: Sequence[bytes], bound: Bound) -> int:
        """Note that `device` touches `subjects`, all different, or none of them.

        Returns 0, or after how many milliseconds there may be room within `bound`. Raises
        PaycoreError DATABASE_UNAVAILABLE.
        """
        ...

    async def touch_each(self, pairs: Sequence[tuple[bytes, bytes]], bound: Bound) -> list[int]:
        """As `touch_together` for each pair of device and subject by itself, in their order."""
        ...


class Velocity:
    """Counts what is set in motion in the name of a device; a device is its client's own."""

    def __init__(self, table: Callable[[], LimitTable], store: TouchStore, secret: bytes) -> None:
        """`table` gives the limits of now.

        `secret` keys the hashes under which devices, payees and identifiers are kept."""
        self._table = table
        self._store = store
        self._secret = hashlib.blake2b(secret, digest_size=32, person=b"paycore-veloc").digest()

    async def admit(self, client: str, commands: Sequence[TransferCommand]) -> None:
        """Let all of `commands`, which stand or fall together, through.

        Raises PaycoreError RATE_LIMITED, DATABASE_UNAVAILABLE.
        """
        limit = self._table().velocity(client)
        if limit is None:
            return
        payees: dict[str, set[bytes]] = {}
        for command in commands:
            device = _device(command)
            if device:
                payees.setdefault(device, set()).add(self._payee(command))
        for device, subjects in payees.items():
            await self._touch(client, device, subjects, _payees(limit))

    async def exceeding(
        self, client: str, commands: Sequence[TransferCommand], places: Sequence[int]
    ) -> Mapping[int, PaycoreError]:
        """The refusals RATE_LIMITED of those of `commands` at `places`, each decided by itself.

        Raises PaycoreError DATABASE_UNAVAILABLE.
        """
        limit = self._table().velocity(client)
        if limit is None:
            return {}
        named: list[int] = []
        pairs: list[tuple[bytes, bytes]] = []
        for place in places:
            command = commands[place]
            device = _device(command)
            if device:
                named.append(place)
                pairs.append((self._device_hash(client, device), self._payee(command)))
        if not named:
            return {}
        waits_ms = await self._store.touch_each(pairs, _payees(limit))
        refused = {
            place: _refusal(client, PAYEE, wait_ms)
            for place, wait_ms in zip(named, waits_ms, strict=True)
            if wait_ms
        }
        _REFUSED.inc(len(refused))
        _ADMITTED.inc(len(named) - len(refused))
        return refused

    async def admit_identifier(
        self, client: str, device: str, identifier: ExternalIdentifier
    ) -> None:
        """Let `device`, if it is named, link `identifier`. Raises as `admit`."""
        limit = self._table().velocity(client)
        if limit is None or not device:
            return
        bound = Bound(IDENTIFIER, limit.identifiers, limit.window_s)
        await self._touch(client, device, {self._hash(IDENTIFIER, *identifier)}, bound)

    async def _touch(self, client: str, device: str, subjects: set[bytes], bound: Bound) -> None:
        wait_ms = await self._store.touch_together(
            self._device_hash(client, device), sorted(subjects), bound
        )
        if wait_ms:
            _REFUSED.inc()
            raise _refusal(client, bound.kind, wait_ms)
        _ADMITTED.inc()

    def _device_hash(self, client: str, device: str) -> bytes:
        return self._hash("DEVICE", client, device)

    def _payee(self, command: TransferCommand) -> bytes:
        return self._hash(PAYEE, str(command.credit_account))

    def _hash(self, *parts: str) -> bytes:
        text = "\0".join(parts).encode()
        return hashlib.blake2b(text, digest_size=_HASH_BYTES, key=self._secret).digest()


def _payees(limit: VelocityLimit) -> Bound:
    return Bound(PAYEE, limit.payees, limit.window_s)


def _device(command: TransferCommand) -> str:
    """The device in whose name a payer sets money in motion; empty where none is named."""
    if command.details is None or command.kind not in PAYER_INITIATED:
        return ""
    return command.details.device_id


def _refusal(client: str, kind: str, wait_ms: int) -> PaycoreError:
    return PaycoreError(
        Reason.RATE_LIMITED,
        f"a device of {client} has too many {kind.lower()}s",
        {"limit": Limit.VELOCITY.value, "of": kind},
        retry_after_ms=wait_ms,
    )
