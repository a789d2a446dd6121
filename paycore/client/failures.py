"""From gRPC's errors to the client's."""

from __future__ import annotations

import grpc

from paycore.client.errors import (
    ClientError,
    TimedOutError,
    TransportError,
    UnreachableError,
    refusal,
)
from paycore.runtime.errors import from_rpc_error


def failure_of(error: grpc.RpcError) -> ClientError:
    """What a failed call means; the same for gRPC's async and blocking errors."""
    carried = from_rpc_error(error)
    if carried is not None:
        return refusal(carried)
    code, details = error.code(), error.details() or ""
    match code:
        case (
            grpc.StatusCode.UNAVAILABLE
            # A server that closes resets the calls that it had not begun; it is not we who cancel.
            | grpc.StatusCode.CANCELLED
            # The services' own carries a reason. A bare one is the transport's, such as that of a
            # stream that broke while it was written to.
            | grpc.StatusCode.INTERNAL
        ):
            return UnreachableError(code, details)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return TimedOutError(code, details)
        case _:
            return TransportError(code, details)
