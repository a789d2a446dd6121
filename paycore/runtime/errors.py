"""The one table from domain errors to gRPC (AIP-193), in both directions."""

from __future__ import annotations

from collections.abc import Iterable

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from paycore.domain.errors import PaycoreError, Reason, Violation

ERROR_DOMAIN = "paycore"
STATUS_DETAILS_KEY = "grpc-status-details-bin"

_INVALID = code_pb2.INVALID_ARGUMENT
_PRECONDITION = code_pb2.FAILED_PRECONDITION
_DENIED = code_pb2.PERMISSION_DENIED
_EXHAUSTED = code_pb2.RESOURCE_EXHAUSTED
_UNAVAILABLE = code_pb2.UNAVAILABLE

CODES: dict[Reason, int] = {
    Reason.INVALID_FIELD: _INVALID,
    Reason.DEADLINE_REQUIRED: _INVALID,
    Reason.DEADLINE_EXCEEDED: code_pb2.DEADLINE_EXCEEDED,
    Reason.INSUFFICIENT_FUNDS: _PRECONDITION,
    Reason.BALANCE_OVERFLOW: _PRECONDITION,
    Reason.ACCOUNT_NOT_FOUND: code_pb2.NOT_FOUND,
    Reason.TRANSFER_NOT_FOUND: code_pb2.NOT_FOUND,
    Reason.ACCOUNT_FROZEN: _PRECONDITION,
    Reason.ACCOUNT_CLOSED: _PRECONDITION,
    Reason.ACCOUNT_KIND_MISMATCH: _PRECONDITION,
    Reason.CURRENCY_MISMATCH: _PRECONDITION,
    Reason.SAME_ACCOUNT: _PRECONDITION,
    Reason.HOLD_NOT_OPEN: _PRECONDITION,
    Reason.EXCEEDS_REMAINING: _PRECONDITION,
    Reason.ILLEGAL_STATE: _PRECONDITION,
    Reason.IDEMPOTENCY_KEY_REUSED: code_pb2.ALREADY_EXISTS,
    Reason.VERSION_MISMATCH: _PRECONDITION,
    Reason.CONTENTION: code_pb2.ABORTED,
    Reason.UNAUTHENTICATED: code_pb2.UNAUTHENTICATED,
    Reason.NOT_PERMITTED: _DENIED,
    Reason.RISK_DECLINED: _PRECONDITION,
    Reason.STEP_UP_REQUIRED: _PRECONDITION,
    Reason.AUTHORIZATION_INVALID: _DENIED,
    Reason.AUTHORIZATION_EXPIRED: _DENIED,
    Reason.AUTHORIZATION_USED: _DENIED,
    Reason.PIN_INCORRECT: _DENIED,
    Reason.PIN_LOCKED: _DENIED,
    Reason.PIN_ALREADY_ENROLLED: code_pb2.ALREADY_EXISTS,
    Reason.PIN_TOO_WEAK: _INVALID,
    Reason.DEVICE_NOT_FOUND: code_pb2.NOT_FOUND,
    Reason.TOO_MANY_DEVICES: _PRECONDITION,
    Reason.SUBSCRIPTION_NOT_FOUND: code_pb2.NOT_FOUND,
    Reason.DELIVERY_NOT_FOUND: code_pb2.NOT_FOUND,
    Reason.TOO_MANY_SUBSCRIPTIONS: _PRECONDITION,
    Reason.RATE_LIMITED: _EXHAUSTED,
    Reason.OVERLOADED: _EXHAUSTED,
    Reason.DATABASE_UNAVAILABLE: _UNAVAILABLE,
    Reason.SIGNER_UNAVAILABLE: _UNAVAILABLE,
    Reason.RISK_UNAVAILABLE: _UNAVAILABLE,
    Reason.INDEX_UNAVAILABLE: _UNAVAILABLE,
    Reason.INDEX_BEHIND: _UNAVAILABLE,
    Reason.SHUTTING_DOWN: _UNAVAILABLE,
    Reason.WATCHER_BEHIND: code_pb2.ABORTED,
    Reason.HISTORY_REPLACED: _PRECONDITION,
    Reason.INTERNAL: code_pb2.INTERNAL,
}
"""Every reason has a code; a test holds the table to be total."""

DEFAULT_RETRY_AFTER_MS = 100
"""Suggested wait where a retryable error names none, in milliseconds."""

_RETRY_CODES = frozenset({_UNAVAILABLE, _EXHAUSTED, code_pb2.ABORTED})


def to_status(error: PaycoreError) -> status_pb2.Status:
    """`error` as google.rpc.Status: ErrorInfo and, where they help, BadRequest and RetryInfo."""
    code = CODES[error.reason]
    status = status_pb2.Status(code=code, message=error.message)
    details: list[any_pb2.Any] = status.details
    _add(
        details,
        error_details_pb2.ErrorInfo(
            reason=error.reason.value, domain=ERROR_DOMAIN, metadata=dict(error.metadata)
        ),
    )
    if error.violations:
        _add(
            details,
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field=violation.field, description=violation.description
                    )
                    for violation in error.violations
                ]
            ),
        )
    if code in _RETRY_CODES:
        wait_ms = DEFAULT_RETRY_AFTER_MS if error.retry_after_ms is None else error.retry_after_ms
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(wait_ms)
        _add(details, error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def _add(details: list[any_pb2.Any], message: object) -> None:
    packed = any_pb2.Any()
    packed.Pack(message)  # type: ignore[arg-type]  # google.rpc ships without types
    details.append(packed)


def from_status(status: status_pb2.Status) -> PaycoreError | None:
    """The error that `status` carries, or None when it is not one of paycore's."""
    reason: Reason | None = None
    metadata: dict[str, str] = {}
    violations: tuple[Violation, ...] = ()
    retry_after_ms: int | None = None
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
            if info.domain != ERROR_DOMAIN or info.reason not in Reason.__members__:
                return None
            reason, metadata = Reason(info.reason), dict(info.metadata)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest()
            detail.Unpack(bad)
            violations = tuple(
                Violation(entry.field, entry.description) for entry in bad.field_violations
            )
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
            retry_after_ms = retry.retry_delay.ToMilliseconds()
    if reason is None:
        return None
    return PaycoreError(reason, status.message, metadata, violations, retry_after_ms)


def from_trailers(trailers: Iterable[tuple[str, str | bytes]] | None) -> PaycoreError | None:
    """The error in a failed call's trailing metadata, or None when it is not one of paycore's."""
    for key, value in trailers or ():
        if key == STATUS_DETAILS_KEY and isinstance(value, bytes):
            status = status_pb2.Status()
            status.MergeFromString(value)
            return from_status(status)
    return None


def from_rpc_error(error: grpc.RpcError) -> PaycoreError | None:
    """The error that a failed call carries, for both the async and the blocking API."""
    trailers = getattr(error, "trailing_metadata", None)
    return from_trailers(trailers() if callable(trailers) else None)


def to_rpc_error(status: status_pb2.Status) -> grpc.aio.AioRpcError:
    """What a call raises that ends with `status`, for one that came in a message."""
    code = _GRPC_CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    trailers = grpc.aio.Metadata((STATUS_DETAILS_KEY, status.SerializeToString()))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers, status.message, None)


def grpc_code(code: int) -> grpc.StatusCode:
    """The gRPC status code of a google.rpc.Code."""
    return _GRPC_CODES[code]


_GRPC_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
