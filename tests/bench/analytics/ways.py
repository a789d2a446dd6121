"""Other ways of asking for the same, which were not taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from paycore.domain.limbs import LIMB_FIELDS
from query_service.readers.elastic import requests
from tests.bench.analytics.filling import DURATION_US, START_US

Body = dict[str, Any]
Send = Callable[[Body], Any]

LIMBS: Body = {limb: {"sum": {"field": limb}} for limb in LIMB_FIELDS}
ONE: Body = {"sum": {"sum": {"field": "amount"}}}
FILTERS = [requests.MOVED, *requests.created(START_US - 1, START_US + DURATION_US + 1)]

DAY: Body = {"date_histogram": {"field": "created_at", "fixed_interval": "86400s"}}
CURRENCY: Body = {"terms": {"field": "currency"}}
KIND: Body = {"terms": {"field": "kind"}}
PAYER: Body = {"terms": {"field": "debit_institution"}}
PAYEE: Body = {"terms": {"field": "credit_institution"}}

BY_DAY = (("start", DAY), ("currency", CURRENCY), ("kind", KIND))
BY_PAIR = (("currency", CURRENCY), ("payer", PAYER), ("payee", PAYEE))


async def composite(
    send: Send, sources: tuple[tuple[str, Body], ...], sums: Body, page: int
) -> int:
    """Walk a composite aggregation; returns the number of groups."""
    after: Body | None = None
    groups = 0
    while True:
        asked: Body = {"size": page, "sources": [{name: body} for name, body in sources]}
        if after is not None:
            asked["after"] = after
        reply = await send({"composite": asked, "aggs": sums})
        groups += len(reply["buckets"])
        after = reply.get("after_key")
        if after is None or len(reply["buckets"]) < page:
            return groups


async def nested(send: Send, levels: tuple[tuple[str, Body], ...], sums: Body) -> int:
    """Divide by one level after the other; returns the number of outermost groups."""
    body = sums
    for name, level in reversed(levels):
        [(kind, options)] = level.items()
        more = {"size": 1_000} if kind == "terms" else {"min_doc_count": 1}
        body = {name: {kind: {**options, **more}, "aggs": body}}
    [whole] = body.values()
    return len((await send(whole))["buckets"])


WAYS: list[tuple[str, Callable[[Send], Any]]] = [
    (
        "volume by day: composite, three limbs",
        lambda send: composite(send, BY_DAY, LIMBS, 2_000),
    ),
    ("volume by day: composite, one sum", lambda send: composite(send, BY_DAY, ONE, 2_000)),
    ("volume by day: day > currency > kind, three limbs", lambda send: nested(send, BY_DAY, LIMBS)),
    ("volume by day: day > currency > kind, one sum", lambda send: nested(send, BY_DAY, ONE)),
    (
        "volume by day: currency > kind > day, three limbs",
        lambda send: nested(send, (*BY_DAY[1:], BY_DAY[0]), LIMBS),
    ),
    ("kinds: composite, three limbs", lambda send: composite(send, BY_DAY[1:], LIMBS, 2_000)),
    ("institutions: composite, pages of 2,000", lambda send: composite(send, BY_PAIR, ONE, 2_000)),
]
