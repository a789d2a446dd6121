"""What the search index holds, added up: to be held against the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from elasticsearch import AsyncElasticsearch

from paycore.domain.limbs import LIMB_FIELDS, join

DAY_MS = 86_400_000
_BUCKETS_A_PAGE = 2_000
_LIMB_SUMS: Mapping[str, Any] = {limb: {"sum": {"field": limb}} for limb in LIMB_FIELDS}


class Group(NamedTuple):
    """What is added up together. `day` counts days since 1970 in UTC."""

    day: int
    currency: str
    kind: str
    state: str


class Sum(NamedTuple):
    """How many, and their exact sum in minor units."""

    items: int
    total: int


async def day_totals(
    client: AsyncElasticsearch, index: str, from_us: int, before_us: int
) -> dict[Group, Sum]:
    """Count and exact sum, by day, currency, kind and state, of what was recorded in a time.

    Every bucket is visited: none is left out for being small. Raises what the client raises.
    """
    sources: list[dict[str, Any]] = [
        {"day": {"date_histogram": {"field": "created_at", "fixed_interval": "1d"}}},
        *({name: {"terms": {"field": name}}} for name in ("currency", "kind", "state")),
    ]
    found: dict[Group, Sum] = {}
    after: Mapping[str, Any] | None = None
    while True:
        composite: dict[str, Any] = {"size": _BUCKETS_A_PAGE, "sources": sources}
        if after is not None:
            composite["after"] = after
        reply = await client.search(
            index=index,
            size=0,
            allow_partial_search_results=False,
            track_total_hits=False,
            query={"range": {"created_at_us": {"gte": from_us, "lt": before_us}}},
            aggs={"totals": {"composite": composite, "aggs": _LIMB_SUMS}},
        )
        totals = reply["aggregations"]["totals"]
        for bucket in totals["buckets"]:
            key = bucket["key"]
            group = Group(key["day"] // DAY_MS, key["currency"], key["kind"], key["state"])
            exact = join(bucket[limb]["value"] for limb in LIMB_FIELDS)
            found[group] = Sum(bucket["doc_count"], exact)
        after = totals.get("after_key")
        if after is None:
            return found
