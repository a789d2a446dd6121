"""The data keys of subjects, from the signing service, kept for some minutes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import grpc
import structlog

from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.sealed import SubjectKey, Unreadable
from paycore.runtime.clock import Clock
from paycore.runtime.coalesced import Coalesced
from paycore.runtime.errors import from_rpc_error
from paycore.runtime.kept import Kept
from paycore.runtime.metric_definitions import counter, gauge
from paycore.signing.v1 import data_key_service_pb2 as pb
from paycore.signing.v1 import data_key_service_pb2_grpc as pb_grpc

CALL_TIMEOUT_S = 1.0
"""Longest that one question to the signing service takes, in seconds."""

RETRY_AFTER_MS = 250
"""Wait suggested to callers while the signing service cannot be reached."""

GATHER_S = 0.008
"""How long a busy process lets questions gather, in seconds."""

MOST_A_CALL = 1_000
"""Keys asked for in one call; the signing service gives no more."""

ASKED = counter(
    "paycore_data_keys_asked_total",
    "Data keys that were needed, by where they came from: kept, signer, away.",
    unit="keys",
    labels={"source": ("kept", "signer", "away")},
)
KEPT = gauge(
    "paycore_data_keys_kept",
    "Data keys in this process's memory.",
    unit="keys",
)

log = structlog.get_logger()

K = TypeVar("K")
KeyOrNot = SubjectKey | Unreadable


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """Bounds on what is kept."""

    keys: int = 50_000
    """Keys kept at most; the one that was used least recently goes."""
    lifetime_s: float = 300.0
    """A key is asked for anew so many seconds after it was had: the longest for which a process
    that did not erase a subject itself can go on opening what it sealed."""
    waiting: int = 50_000
    """Keys that may be asked for at the same time."""


class DataKeys:
    """Asks for what it does not keep, for all who wait in one call."""

    def __init__(
        self, channel: grpc.aio.Channel, clock: Clock, limits: KeyLimits | None = None
    ) -> None:
        limits = limits or KeyLimits()
        self._stub = pb_grpc.DataKeyServiceStub(channel)
        self._by_subject: Kept[str, SubjectKey] = Kept(limits.keys, limits.lifetime_s, clock)
        self._by_id: Kept[int, KeyOrNot] = Kept(limits.keys, limits.lifetime_s, clock)
        bounds = {"at_once": MOST_A_CALL, "most_waiting": limits.waiting}
        self._creating = Coalesced(self._create, gather_s=GATHER_S, **bounds)
        self._unwrapping = Coalesced(self._unwrap, gather_s=GATHER_S, **bounds)
        self._forgotten = 0
        KEPT.set_function(lambda: len(self._by_subject) + len(self._by_id))

    async def of_subjects(
        self, subjects: Collection[str], within_s: float
    ) -> Mapping[str, SubjectKey | PaycoreError]:
        """The key in force of each of `subjects`, or why it cannot be had within `within_s`
        seconds: SIGNER_UNAVAILABLE or OVERLOADED."""
        found: dict[str, SubjectKey | PaycoreError] = {}
        lacking = []
        for subject in subjects:
            key = self._by_subject.get(subject)
            if key is None:
                lacking.append(subject)
            else:
                found[subject] = key
        if lacking:
            found.update(await self._creating.get(lacking, within_s, _unavailable()))
        _count(len(subjects), lacking, found)
        return found

    async def by_ids(self, key_ids: Collection[int], within_s: float) -> Mapping[int, KeyOrNot]:
        """Each of the keys: ERASED where it was destroyed, UNAVAILABLE where it cannot be had
        within `within_s` seconds."""
        found: dict[int, KeyOrNot | PaycoreError] = {}
        lacking = []
        for key_id in key_ids:
            key = self._by_id.get(key_id)
            if key is None:
                lacking.append(key_id)
            else:
                found[key_id] = key
        if lacking:
            found.update(await self._unwrapping.get(lacking, within_s, _unavailable()))
        _count(len(key_ids), lacking, found)
        return {
            key_id: Unreadable.UNAVAILABLE if isinstance(key, PaycoreError) else key
            for key_id, key in found.items()
        }

    async def destroy(self, subject: str, within_s: float) -> Sequence[int]:
        """Destroy every key of `subject`, and forget them; the ids of all that it ever had.

        Raises PaycoreError SIGNER_UNAVAILABLE.
        """
        try:
            reply = await self._stub.DestroyDataKeys(
                pb.DestroyDataKeysRequest(subject=subject), timeout=min(within_s, CALL_TIMEOUT_S)
            )
        except grpc.RpcError as error:
            raise _refusal(error) from error
        # What an answer under way brings from before is not kept either, and not waited for.
        self._forgotten += 1
        self._creating.forget(subject)
        self._by_subject.forget(subject)
        for key_id in reply.key_ids:
            self._by_id.keep(key_id, Unreadable.ERASED)
        return list(reply.key_ids)

    async def _create(self, subjects: Sequence[str]) -> Mapping[str, SubjectKey | PaycoreError]:
        forgotten = self._forgotten
        try:
            reply = await self._stub.CreateDataKeys(
                pb.CreateDataKeysRequest(subjects=subjects), timeout=CALL_TIMEOUT_S
            )
        except grpc.RpcError as error:
            return dict.fromkeys(subjects, _refusal(error))
        found: dict[str, SubjectKey | PaycoreError] = {}
        for subject, key in zip(subjects, reply.keys, strict=True):
            if key.state != pb.DATA_KEY_STATE_IN_FORCE:
                # Its wrapped form is damaged: nothing that the subject is named in can be sealed.
                found[subject] = _unavailable()
                continue
            made = SubjectKey(key.key_id, key.secret)
            found[subject] = made
            if forgotten == self._forgotten:
                self._by_subject.keep(subject, made)
                self._by_id.keep(made.id, made)
        return found

    async def _unwrap(self, key_ids: Sequence[int]) -> Mapping[int, KeyOrNot | PaycoreError]:
        forgotten = self._forgotten
        try:
            reply = await self._stub.UnwrapDataKeys(
                pb.UnwrapDataKeysRequest(key_ids=key_ids), timeout=CALL_TIMEOUT_S
            )
        except grpc.RpcError as error:
            return dict.fromkeys(key_ids, _refusal(error))
        found: dict[int, KeyOrNot | PaycoreError] = {}
        for key in reply.keys:
            had: KeyOrNot
            match key.state:
                case pb.DATA_KEY_STATE_IN_FORCE:
                    had = SubjectKey(key.key_id, key.secret)
                case pb.DATA_KEY_STATE_DESTROYED:
                    had = Unreadable.ERASED
                case _:
                    log.error("a data key is unknown to the signing service", key_id=key.key_id)
                    found[key.key_id] = _unavailable()
                    continue
            found[key.key_id] = had
            if forgotten == self._forgotten:
                self._by_id.keep(key.key_id, had)
        return found


def _count(asked: int, lacking: Sequence[K], found: Mapping[K, object]) -> None:
    ASKED.labels("kept").inc(asked - len(lacking))
    if lacking:
        away = sum(isinstance(found[one], PaycoreError) for one in lacking)
        ASKED.labels("away").inc(away)
        ASKED.labels("signer").inc(len(lacking) - away)


def _refusal(error: grpc.RpcError) -> PaycoreError:
    refusal = from_rpc_error(error)
    if refusal is not None:
        log.warning("the signing service gave no data keys", reason=refusal.reason.value)
        return _unavailable(refusal.retry_after_ms)
    log.warning("the signing service gave no data keys", error=type(error).__name__)
    return _unavailable()


def _unavailable(retry_after_ms: int | None = None) -> PaycoreError:
    return PaycoreError(
        Reason.SIGNER_UNAVAILABLE,
        "the keys of personal data cannot be had",
        retry_after_ms=RETRY_AFTER_MS if retry_after_ms is None else retry_after_ms,
    )
