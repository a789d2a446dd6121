"""The search bodies. They use only what every distribution of Elasticsearch has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from paycore.domain.limbs import LIMB_FIELDS
from paycore.domain.transfers import TransferKind, TransferState
from query_service.readers.port import (
    CounterpartyFilter,
    PageKey,
    TransferFilter,
    Viewer,
    VolumeFilter,
)

Body: TypeAlias = dict[str, Any]

BUCKETS_A_PAGE = 2_000
"""Small enough that reading one page holds up other calls by a few milliseconds only."""

_DECLINED: Body = {"term": {"state": TransferState.FAILED.value}}
_POSTED: Body = {"bool": {"must_not": [_DECLINED]}}
"""Declines are few: leaving them out costs next to nothing, looking for all others much."""

_MOVES_NOTHING: Body = {"terms": {"kind": [TransferKind.HOLD.value, TransferKind.RELEASE.value]}}
_MOVED: Body = {"bool": {"must_not": [_DECLINED, _MOVES_NOTHING]}}

_LIMB_SUMS: Body = {limb: {"sum": {"field": limb}} for limb in LIMB_FIELDS}


def page(wanted: TransferFilter, after: PageKey | None, limit: int) -> Body:
    """One page of an account's transfers, newest first."""
    body: Body = {
        "size": limit,
        "query": {"bool": {"filter": _listed(wanted)}},
        "sort": [{"created_at_us": "desc"}, {"id": "desc"}],
        "track_total_hits": False,
    }
    if after is not None:
        body["search_after"] = list(after)
    return body


def one(transfer: int) -> Body:
    """The document of one transfer or stored decline."""
    return {"size": 1, "query": {"ids": {"values": [str(transfer)]}}, "track_total_hits": False}


def volume(wanted: VolumeFilter, viewer: Viewer, after: Mapping[str, Any] | None) -> Body:
    """One page of totals by interval, currency and kind over what `viewer` may see."""
    counted = _POSTED if wanted.kinds else _MOVED
    filters = [counted, *_created(wanted.start_us, wanted.end_us), *_visible(viewer)]
    if wanted.currency is not None:
        filters.append({"term": {"currency": wanted.currency}})
    filters += _kinds(wanted.kinds)
    interval = f"{wanted.interval_s}s"
    sources: list[Body] = [
        {"start": {"date_histogram": {"field": "created_at", "fixed_interval": interval}}},
        {"currency": {"terms": {"field": "currency"}}},
        {"kind": {"terms": {"field": "kind"}}},
    ]
    return _composite(filters, sources, after)


def counterparties(
    wanted: CounterpartyFilter, own: str, other: str, after: Mapping[str, Any] | None
) -> Body:
    """One page of totals by `other` over transfers whose field `own` is the account.

    A composite aggregation visits every bucket; a terms aggregation would keep the largest of each
    shard and lose money that is spread over several.
    """
    filters = [
        _MOVED,
        {"term": {own: wanted.account}},
        *_created(wanted.start_us, wanted.end_us),
    ]
    return _composite(filters, [{"account": {"terms": {"field": other}}}], after)


def _composite(filters: list[Body], sources: list[Body], after: Mapping[str, Any] | None) -> Body:
    composite: Body = {"size": BUCKETS_A_PAGE, "sources": sources}
    if after is not None:
        composite["after"] = after
    return {
        "size": 0,
        "query": {"bool": {"filter": filters}},
        "track_total_hits": False,
        "aggs": {"totals": {"composite": composite, "aggs": _LIMB_SUMS}},
    }


def _listed(wanted: TransferFilter) -> list[Body]:
    filters: list[Body] = [{"term": {"accounts": wanted.account}}]
    if wanted.include_declines:
        # Those of payments to the account are the payer's business.
        to_account = {"term": {"credit_account": wanted.account}}
        filters.append({"bool": {"must_not": [{"bool": {"filter": [_DECLINED, to_account]}}]}})
    else:
        filters.append(_POSTED)
    if wanted.counterparty is not None:
        filters.append({"term": {"accounts": wanted.counterparty}})
    if wanted.reference is not None:
        filters.append({"term": {"reference": wanted.reference}})
    filters += _kinds(wanted.kinds)
    filters += _between("amount", gte=wanted.min_amount, lte=wanted.max_amount)
    filters += _created(wanted.start_us, wanted.end_us)
    return filters


def _visible(viewer: Viewer) -> list[Body]:
    reach = viewer.reach
    if reach.all:
        return []
    grounds: list[Body] = [{"term": {"client": viewer.client}}]
    for side in ("debit", "credit"):
        if reach.own:
            grounds.append({"term": {f"{side}_opened_by": viewer.client}})
        if reach.institutions:
            grounds.append({"terms": {f"{side}_institution": sorted(reach.institutions)}})
    return [{"bool": {"should": grounds}}]


def _kinds(kinds: Iterable[str]) -> list[Body]:
    names = sorted(kinds)
    return [{"terms": {"kind": names}}] if names else []


def _created(start_us: int | None, end_us: int | None) -> list[Body]:
    return _between("created_at_us", gte=start_us, lt=end_us)


def _between(field: str, **bounds: int | None) -> list[Body]:
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    return [{"range": {field: given}}] if given else []
