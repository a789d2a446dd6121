"""What a server says it serves."""

from __future__ import annotations

import asyncio

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from paycore.runtime.channel import open_blocking_channel
from paycore.runtime.tls import TlsFiles


async def served(target: str, files: TlsFiles, server: str) -> list[MethodDescriptor]:
    """Every method that `server` has, described by itself."""

    def ask() -> list[MethodDescriptor]:
        with open_blocking_channel(target, files, service=server) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            pool = DescriptorPool(database)
            return [
                method
                for name in sorted(database.get_services())
                for method in pool.FindServiceByName(name).methods
            ]

    return await asyncio.to_thread(ask)
