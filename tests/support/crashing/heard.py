"""What replies say, as values of the history."""

from __future__ import annotations

import time
from typing import Any

import grpc

from paycore.domain.errors import STORED_DECLINES, PaycoreError, Reason
from paycore.runtime.errors import from_rpc_error, from_status
from paycore.v1 import transfer_pb2
from tests.support.crashing.history import Reply, Told, Verdict

_UNHEARD = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DATA_LOSS,
)
"""After these nobody may say that nothing was done."""


def told_of(message: transfer_pb2.Transfer) -> Told:
    """The transfer that `message` shows."""
    return Told(
        id=message.id,
        kind=transfer_pb2.TransferKind.Name(message.kind).removeprefix("TRANSFER_KIND_"),
        debit=message.debit_account_id,
        credit=message.credit_account_id,
        amount=message.amount.minor_units,
        currency=message.amount.currency,
        client=message.client,
        reference=message.reference,
        debit_version=message.debit_version,
        credit_version=message.credit_version,
        debit_balance=_given(message, "debit_balance_after"),
        credit_balance=_given(message, "credit_balance_after"),
        held=_given(message, "debit_held_after"),
        created_at_us=message.create_time.ToMicroseconds(),
        parent=message.parent_id,
        parent_sequence=message.parent_sequence,
        parent_remaining=_given(message, "parent_remaining_minor_units"),
        parent_state=_state(message.parent_state),
        released=_given(message, "released_minor_units"),
        group=message.group_id,
        step_up=transfer_pb2.StepUpBasis.Name(message.step_up_basis).removeprefix("STEP_UP_BASIS_"),
    )


def posted(began_s: float, reply: Any) -> Reply:
    """Of a reply, or an outcome, that has one transfer or those of a group."""
    transfers = list(reply.transfers) if hasattr(reply, "transfers") else [reply.transfer]
    body = b"\0".join(one.SerializeToString(deterministic=True) for one in transfers)
    return Reply(
        began_s,
        time.monotonic(),
        Verdict.POSTED,
        transfers=tuple(told_of(one) for one in transfers),
        replayed=reply.replayed,
        body=body + reply.position.encode(),
        position=reply.position,
    )


def outcome(began_s: float, found: transfer_pb2.TransferOutcome) -> Reply:
    """Of one outcome among several."""
    if found.HasField("transfer"):
        return posted(began_s, found)
    error = from_status(found.error)
    return _refused(began_s, grpc.StatusCode(_code(found.error.code)), error)


def failed(began_s: float, failure: grpc.RpcError) -> Reply:
    """Of a call that failed."""
    error: Any = failure
    return _refused(began_s, error.code(), from_rpc_error(failure))


def looked_up(began_s: float, outcomes: list[transfer_pb2.TransferOutcome]) -> Reply:
    """Of the look-up of one key."""
    replies = [outcome(began_s, one) for one in outcomes]
    if len(replies) == 1:
        return replies[0]
    return Reply(
        began_s,
        time.monotonic(),
        Verdict.POSTED,
        transfers=tuple(told for reply in replies for told in reply.transfers),
        replayed=True,
    )


def absent(began_s: float) -> Reply:
    """Of a look-up that found nothing."""
    return Reply(began_s, time.monotonic(), Verdict.NOT_FOUND)


def is_absent(failure: grpc.RpcError) -> bool:
    """Whether the look-up says that the key has no outcome."""
    error = from_rpc_error(failure)
    return error is not None and error.reason is Reason.TRANSFER_NOT_FOUND


def _refused(began_s: float, code: grpc.StatusCode, error: PaycoreError | None) -> Reply:
    ended_s = time.monotonic()
    # What paycore says, and what gRPC says without it, are told apart.
    reason = f"gRPC: {code.name}" if error is None else error.reason.value
    if error is not None and error.reason in STORED_DECLINES and "decline_id" in error.metadata:
        figures = {name: text for name, text in error.metadata.items() if name != "replayed"}
        return Reply(
            began_s,
            ended_s,
            Verdict.DECLINED,
            decline=int(error.metadata["decline_id"]),
            reason=reason,
            replayed="replayed" in error.metadata,
            body=repr((reason, sorted(figures.items()))).encode(),
        )
    verdict = Verdict.UNHEARD if code in _UNHEARD else Verdict.REFUSED
    return Reply(began_s, ended_s, verdict, reason=reason)


def _code(number: int) -> Any:
    return next(code.value for code in grpc.StatusCode if code.value[0] == number)


def _given(message: transfer_pb2.Transfer, name: str) -> int | None:
    # The stubs want the names of fields spelt out, one by one.
    return getattr(message, name) if message.HasField(name) else None  # type: ignore[arg-type]


def _state(state: transfer_pb2.TransferState.ValueType) -> str:
    name = transfer_pb2.TransferState.Name(state).removeprefix("TRANSFER_STATE_")
    return "" if name == "UNSPECIFIED" else name
