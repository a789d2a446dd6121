"""Answers the RPCs of DataKeyService."""

from __future__ import annotations

from collections.abc import Sequence

from paycore.domain.errors import invalid_field
from paycore.domain.subjects import is_subject
from paycore.runtime.server import Call
from paycore.signing.v1 import data_key_service_pb2 as pb
from signing_service import acting
from signing_service.data_keys import DataKey, DataKeys, KeyState

MAX_KEYS = 1_000
"""Subjects or ids in one request."""

_STATES = {state: pb.DataKeyState.Value(f"DATA_KEY_STATE_{state}") for state in KeyState}


class DataKeyServicer:
    """Translates; who may call is the access table's business."""

    def __init__(self, data_keys: DataKeys) -> None:
        self._data_keys = data_keys

    async def CreateDataKeys(  # noqa: N802  # the RPC's name
        self, request: pb.CreateDataKeysRequest, call: Call
    ) -> pb.CreateDataKeysResponse:
        """Keys to seal under."""
        subjects = list(request.subjects)
        _check_many("subjects", subjects)
        for place, subject in enumerate(subjects):
            _check_subject(f"subjects[{place}]", subject)
        keys = await self._data_keys.create(subjects)
        return pb.CreateDataKeysResponse(keys=map(_message, keys))

    async def UnwrapDataKeys(  # noqa: N802  # the RPC's name
        self, request: pb.UnwrapDataKeysRequest, call: Call
    ) -> pb.UnwrapDataKeysResponse:
        """Keys to open with."""
        key_ids = list(request.key_ids)
        _check_many("key_ids", key_ids)
        keys = await self._data_keys.unwrap(key_ids)
        return pb.UnwrapDataKeysResponse(keys=map(_message, keys))

    async def DestroyDataKeys(  # noqa: N802  # the RPC's name
        self, request: pb.DestroyDataKeysRequest, call: Call
    ) -> pb.DestroyDataKeysResponse:
        """The end of what was sealed under them, and of what the subject approves with."""
        _check_subject("subject", request.subject)
        acting.begin(call, "DestroyDataKeys")
        return pb.DestroyDataKeysResponse(key_ids=await self._data_keys.destroy(request.subject))


def _check_many(field: str, values: Sequence[object]) -> None:
    if not 1 <= len(values) <= MAX_KEYS:
        raise invalid_field(field, f"1 to {MAX_KEYS}, not {len(values)}")
    if len(set(values)) != len(values):
        raise invalid_field(field, "one is named twice")


def _check_subject(field: str, subject: str) -> None:
    if not is_subject(subject):
        raise invalid_field(field, "1 to 128 printable characters")


def _message(key: DataKey) -> pb.DataKey:
    return pb.DataKey(key_id=key.key_id, state=_STATES[key.state], secret=key.secret)
