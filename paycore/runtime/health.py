"""gRPC health that can also list what it knows."""

from __future__ import annotations

from typing import Any

from grpc_health.v1 import health, health_pb2


class Health(health.aio.HealthServicer):  # type: ignore[name-defined,misc]  # stubs lack aio
    """The library's servicer, which lacks the method List of its own contract."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, int] = {}

    async def set(self, service: str, status: int) -> None:
        """Tell of `service` from now on; the empty name is the whole process."""
        self._told[service] = status
        await super().set(service, status)

    async def enter_graceful_shutdown(self) -> None:
        """Tell NOT_SERVING of everything, for good."""
        self._told = dict.fromkeys(self._told, health_pb2.HealthCheckResponse.NOT_SERVING)
        await super().enter_graceful_shutdown()

    async def List(self, _: Any, __: Any) -> health_pb2.HealthListResponse:  # noqa: N802
        """Every service that was told of, and how it is."""
        return health_pb2.HealthListResponse(
            statuses={
                name: health_pb2.HealthCheckResponse(status=status)
                for name, status in self._told.items()
            }
        )
