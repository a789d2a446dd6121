"""The search bodies. They use only what every distribution of Elasticsearch has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from paycore.domain.transfers import TransferKind, TransferState
from query_service.readers.port import (
    MAX_TOTAL,
    PageKey,
    TransferFilter,
    Viewer,
)

Body: TypeAlias = dict[str, Any]

DECLINED: Body = {"term": {"state": TransferState.FAILED.value}}
POSTED: Body = {"bool": {"must_not": [DECLINED]}}
"""Declines are few: leaving them out costs next to nothing, looking for all others much."""

MOVES_NOTHING: Body = {"terms": {"kind": [TransferKind.HOLD.value, TransferKind.RELEASE.value]}}
MOVED: Body = {"bool": {"must_not": [DECLINED, MOVES_NOTHING]}}


def one_transfer(transfer: int) -> Body:
    """The transfer or stored decline of that id."""
    return {
        "size": 1,
        "query": {"ids": {"values": [str(transfer)]}},
        "track_total_hits": False,
    }


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


def total(wanted: TransferFilter) -> Body:
    """How many transfers an account's list has."""
    return {
        "size": 0,
        "query": {"bool": {"filter": _listed(wanted)}},
        "track_total_hits": MAX_TOTAL + 1,
    }


def last_balances(filters: list[Body]) -> Body:
    """The accounts' balances after the last transfer that passes `filters`."""
    return {
        "size": 1,
        "_source": ["debit_account", "debit_balance_after", "credit_balance_after"],
        "query": {"bool": {"filter": filters}},
        "sort": [{"created_at_us": "desc"}],
        "track_total_hits": False,
    }


def next_balances(filters: list[Body]) -> Body:
    """The first transfer that passes `filters`, and the accounts' balances after it."""
    return {
        "size": 1,
        "_source": ["amount", "debit_account", "debit_balance_after", "credit_balance_after"],
        "query": {"bool": {"filter": filters}},
        "sort": [{"created_at_us": "asc"}],
        "track_total_hits": False,
    }


def _listed(wanted: TransferFilter) -> list[Body]:
    filters: list[Body] = [{"term": {"accounts": wanted.account}}]
    if wanted.include_declines:
        # Those of payments to the account are the payer's business.
        to_account = {"term": {"credit_account": wanted.account}}
        filters.append({"bool": {"must_not": [{"bool": {"filter": [DECLINED, to_account]}}]}})
    else:
        filters.append(POSTED)
    if wanted.counterparty is not None:
        filters.append({"term": {"accounts": wanted.counterparty}})
    if wanted.reference is not None:
        filters.append({"term": {"reference": wanted.reference}})
    filters += of_kinds(wanted.kinds)
    filters += between("amount", gte=wanted.min_amount, lte=wanted.max_amount)
    filters += created(wanted.start_us, wanted.end_us)
    return filters


def visible(viewer: Viewer) -> list[Body]:
    """What `viewer` may see of transfers that were posted."""
    return _of_sides(viewer, "debit", "credit")


def payers_visible(viewer: Viewer) -> list[Body]:
    """What `viewer` sees as being of the payer's side: all that it may see of declines."""
    return _of_sides(viewer, "debit")


def touching(account: int) -> list[Body]:
    """Transfers of which `account` is one of the two."""
    return [{"term": {"accounts": account}}]


def of_currency(currency: str | None) -> list[Body]:
    """Transfers of `currency`, None for any."""
    return [] if currency is None else [{"term": {"currency": currency}}]


def of_kinds(kinds: Iterable[str]) -> list[Body]:
    """Transfers of one of `kinds`, none of them for any."""
    names = sorted(kinds)
    return [{"terms": {"kind": names}}] if names else []


def created(start_us: int | None, end_us: int | None) -> list[Body]:
    """Transfers from `start_us` on and before `end_us`, in microseconds."""
    return between("created_at_us", gte=start_us, lt=end_us)


def side_visible(viewer: Viewer, side: str) -> list[Body]:
    """Each ground on which `viewer`, who does not read all, reads the account of `side`."""
    grounds: list[Body] = []
    if viewer.reach.own:
        grounds.append({"term": {f"{side}_opened_by": viewer.client}})
    if viewer.reach.institutions:
        grounds.append({"terms": {f"{side}_institution": sorted(viewer.reach.institutions)}})
    return grounds


def _of_sides(viewer: Viewer, *sides: str) -> list[Body]:
    if viewer.reach.all:
        return []
    grounds: list[Body] = [{"term": {"client": viewer.client}}]
    for side in sides:
        grounds += side_visible(viewer, side)
    return [{"bool": {"should": grounds}}]


def between(field: str, **bounds: int | None) -> list[Body]:
    """Transfers whose `field` is within those of `bounds` that are given."""
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    return [{"range": {field: given}}] if given else []
