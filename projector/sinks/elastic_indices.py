"""The indices of the read side: made, compared with the mapping files, switched and dropped."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import structlog
from elasticsearch import AsyncElasticsearch, BadRequestError, NotFoundError

from projector.batch import DocumentKind
from projector.sinks.elastic_layout import Layout, Month, alias, parse, write_alias
from projector.sinks.elastic_mappings import (
    Difference,
    addition,
    changed_settings,
    compare,
    definition,
)
from projector.sinks.elastic_requests import AnswerIncompleteError

_INDEX_GONE = "index_not_found_exception"
"""Of an alias that nothing has, Elasticsearch says that it is missing, in words."""

log = structlog.get_logger()


class Indices:
    """What exists of one prefix. Every method is one or a few requests, and may be repeated."""

    def __init__(self, client: AsyncElasticsearch, prefix: str) -> None:
        self._client = client
        self.prefix = prefix
        self.positions = f"{prefix}-positions"

    async def ensure_positions(self) -> None:
        """Make the index of the positions, or bring its mapping up to the file."""
        wanted = definition("positions")
        if not await self._client.indices.exists(index=self.positions):
            await self._client.indices.create(index=self.positions, **wanted)
            return
        told = await self._client.indices.get(index=self.positions, flat_settings=True)
        await self._client.indices.put_mapping(
            index=self.positions, **addition(wanted, told[self.positions])
        )

    async def served(self) -> Mapping[DocumentKind, set[str]]:
        """The indices behind each of the readers' aliases.

        Raises AnswerIncompleteError where one of them was dropped while it was asked for: that
        none is there must not be read out of it.
        """
        found: dict[DocumentKind, set[str]] = {kind: set() for kind in DocumentKind}
        for kind in DocumentKind:
            name = alias(self.prefix, kind)
            try:
                found[kind] = set(await self._client.indices.get_alias(name=name))
            except NotFoundError as error:
                if error.error == _INDEX_GONE:
                    raise AnswerIncompleteError(f"an index of {name} was dropped") from error
        return found

    async def existing(self) -> set[str]:
        """All indices that are named as this layout names them."""
        return {name for name in await self._names() if parse(self.prefix, name) is not None}

    async def of(self, generation: int) -> set[str]:
        """All that exists of one generation."""
        if generation:
            return {name for name in await self.existing() if self._is_of(name, generation)}
        kinds = "|".join(kind.value for kind in DocumentKind)
        made_before = re.compile(rf"{re.escape(self.prefix)}-({kinds})-v\d+")
        return {name for name in await self._names() if made_before.fullmatch(name)}

    async def make(self, layout: Layout, months: Iterable[Month], *, served: bool) -> None:
        """Make those of `months`, and the accounts', that are absent."""
        there = await self.existing()
        for month in sorted(months):
            await self._make(layout, DocumentKind.TRANSFER, month, there, served)
        await self._make(layout, DocumentKind.ACCOUNT, "", there, served)

    async def _make(
        self, layout: Layout, kind: DocumentKind, month: Month, there: set[str], served: bool
    ) -> None:
        index = layout.index(kind, month)
        if index in there:
            if served:
                await self._client.indices.put_alias(index=index, name=alias(self.prefix, kind))
            return
        aliases: dict[str, Any] = {write_alias(index): {}}
        if served:
            aliases[alias(self.prefix, kind)] = {}
        try:
            await self._client.indices.create(
                index=index, aliases=aliases, **definition(kind.value)
            )
        except BadRequestError as error:
            # An earlier attempt was carried out and its reply lost.
            if error.error != "resource_already_exists_exception":
                raise
        log.info("index created", index=index, served=served)

    async def compare(self, kind: DocumentKind, indices: Collection[str]) -> Difference:
        """The worst difference of `indices` from the file of their kind."""
        if not indices:
            return Difference.NONE
        wanted = definition(kind.value)
        told = await self._client.indices.get(index=sorted(indices), flat_settings=True)
        found = {compare(wanted, told[name]) for name in told}
        order = (Difference.REBUILD, Difference.ADDITIONS, Difference.NEWER)
        return next((worst for worst in order if worst in found), Difference.NONE)

    async def bring_up(self, kind: DocumentKind, indices: Collection[str]) -> None:
        """Give `indices` the fields and the settings that can be given in place."""
        wanted = definition(kind.value)
        told = await self._client.indices.get(index=sorted(indices), flat_settings=True)
        for name in told:
            if compare(wanted, told[name]) not in (Difference.ADDITIONS, Difference.REBUILD):
                continue
            await self._client.indices.put_mapping(index=name, **addition(wanted, told[name]))
            settings = changed_settings(wanted, told[name])
            if settings:
                await self._client.indices.put_settings(index=name, settings=settings)
            log.info("mapping brought up to its file", index=name)

    async def switch(self, layout: Layout) -> None:
        """Put all of `layout` behind the readers' aliases, and everything else from behind them.

        One request: a reader sees the one or the other.
        """
        mine = await self.of(layout.generation)
        actions: list[dict[str, Any]] = []
        for kind, served in (await self.served()).items():
            name = alias(self.prefix, kind)
            actions += [
                {"remove": {"index": index, "alias": name}} for index in sorted(served - mine)
            ]
            actions += [
                {"add": {"index": index, "alias": name}}
                for index in sorted(mine)
                if parse(self.prefix, index).kind is kind  # type: ignore[union-attr]
            ]
        await self._client.indices.update_aliases(actions=actions)

    async def drop(self, indices: Iterable[str]) -> None:
        """Delete `indices`; those that are gone already are none's loss."""
        for index in sorted(indices):
            await self._client.indices.delete(index=index, ignore_unavailable=True)
            log.info("index dropped", index=index)

    async def _names(self) -> set[str]:
        found = await self._client.indices.get(
            index=f"{self.prefix}-*",
            filter_path="*.settings.index.uuid",
            # What is dropped meanwhile is not there.
            ignore_unavailable=True,
        )
        return set(found)

    def _is_of(self, index: str, generation: int) -> bool:
        named = parse(self.prefix, index)
        return named is not None and named.generation == generation
