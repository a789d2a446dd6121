"""gRPC's own services, health and reflection: open to every caller that has an identity."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc

from paycore.runtime.gate import Gate

Decode = Callable[[bytes], Any]

_KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


class OpenServices:
    """Stands in for the server in the generated `add_...Servicer_to_server` functions.

    Wrapping what they register, rather than naming methods, leaves none out that a later release
    brings.
    """

    def __init__(self, server: grpc.aio.Server, gate: Gate) -> None:
        self._server = server
        self._gate = gate

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Serve `handlers` of `service` behind the gate."""
        guarded = {
            name: handler._replace(
                # Bytes come as they are: what is wrong with them, the gate says.
                request_deserializer=None,
                **{
                    kind: self._guard(f"{service}/{name}", method, handler.request_deserializer)
                    for kind in _KINDS
                    if (method := getattr(handler, kind)) is not None
                },
            )
            for name, handler in handlers.items()
        }
        generic = grpc.method_handlers_generic_handler(service, guarded)
        self._server.add_generic_rpc_handlers((generic,))

    def add_generic_rpc_handlers(self, _: object) -> None:
        """Nothing: the generated functions give the same handlers in both ways."""

    def _guard(self, full_name: str, method: Any, decode: Decode) -> Any:
        async def read(sent: Any, context: Any) -> Any:
            if isinstance(sent, bytes):
                return await self._gate.decoded(full_name, decode, sent, context)
            return self._decoded(full_name, decode, sent, context)

        async def answer(sent: Any, context: Any) -> Any:
            await self._gate.require_identity(full_name, context)
            request = await read(sent, context)
            try:
                return await method(request, context)
            except NotImplementedError:
                # The contract of health is ahead of its implementation.
                return await context.abort(
                    grpc.StatusCode.UNIMPLEMENTED, f"{full_name} is not offered"
                )
            except Exception as error:
                _pass_on(error)
                return await self._gate.failed(full_name, context)

        async def stream(sent: Any, context: Any) -> AsyncIterator[Any]:
            await self._gate.require_identity(full_name, context)
            try:
                async for reply in method(await read(sent, context), context):
                    yield reply
            except Exception as error:
                _pass_on(error)
                await self._gate.failed(full_name, context)

        return stream if inspect.isasyncgenfunction(method) else answer

    async def _decoded(
        self, full_name: str, decode: Decode, sent: AsyncIterator[bytes], context: Any
    ) -> AsyncIterator[Any]:
        async for raw in sent:
            yield await self._gate.decoded(full_name, decode, raw, context)


def _pass_on(error: Exception) -> None:
    """Raise what is no fault: an aborted call, or a write to a caller that has just gone."""
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, grpc.aio.InternalError):
        raise asyncio.CancelledError from error
