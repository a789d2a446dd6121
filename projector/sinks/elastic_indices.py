"""The indices of the read side, made from the mapping files where they are absent."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import structlog
from elasticsearch import AsyncElasticsearch

from projector.batch import DocumentKind

_MAPPINGS = Path(__file__).parent.parent / "mappings"

log = structlog.get_logger()


class Indices:
    """Names and existence of one prefix's indices.

    Readers and writers use aliases, behind which a rebuilt index can take the old one's place; the
    positions have an index without one.
    """

    def __init__(self, client: AsyncElasticsearch, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self.aliases = {kind: f"{prefix}-{kind.value}" for kind in DocumentKind}
        self.positions = f"{prefix}-positions"

    async def ensure(self, forget_positions: Callable[[], Awaitable[None]]) -> None:
        """Make what is absent, and bring the mappings of what exists up to their files.

        Where documents are to begin anew, `forget_positions` is awaited before their index exists:
        a crash between the two leaves an index that is known to be empty.
        """
        definition = _definition("positions")
        if not await self._client.indices.exists(index=self.positions):
            await self._client.indices.create(index=self.positions, **definition)
        else:
            await self._client.indices.put_mapping(index=self.positions, **_updatable(definition))
        absent = [
            kind
            for kind, alias in self.aliases.items()
            if not await self._client.indices.exists_alias(name=alias)
        ]
        if absent:
            await forget_positions()
        for kind, alias in self.aliases.items():
            definition = _definition(kind.value)
            if kind in absent:
                index = f"{alias}-v{definition['mappings']['_meta']['version']}"
                log.info("index created", index=index, alias=alias)
                await self._client.indices.create(
                    index=index, aliases={alias: {"is_write_index": True}}, **definition
                )
            else:
                await self._client.indices.put_mapping(index=alias, **_updatable(definition))


def _definition(name: str) -> dict[str, Any]:
    definition: dict[str, Any] = json.loads((_MAPPINGS / f"{name}.json").read_text("utf-8"))
    return definition


def _updatable(definition: dict[str, Any]) -> dict[str, Any]:
    mappings = definition["mappings"]
    return {
        "dynamic": mappings["dynamic"],
        "meta": mappings["_meta"],
        "properties": mappings["properties"],
    }
