"""The search bodies about an account's entries. One that is only promised money has none of it."""

from __future__ import annotations

from paycore.domain.accounts import AccountId
from query_service.readers.elastic.requests import DECLINED, MOVES_NOTHING, Body
from query_service.readers.port import StatementFilter


def last(account: AccountId, at_us: int, *, paid: bool) -> Body:
    """The account's last entry at or before `at_us`; with `paid` the last of its debits."""
    query = (
        {
            "filter": [{"term": {"debit_account": account}}, _until(lte=at_us)],
            "must_not": [DECLINED],
        }
        if paid
        else _entries(account, _until(lte=at_us), with_holds=True)
    )
    return {
        "size": 1,
        "query": {"bool": query},
        "sort": [{"created_at_us": "desc"}],
        "track_total_hits": False,
    }


def statement(wanted: StatementFilter, after_us: int, limit: int) -> Body:
    """At most `limit` entries behind `after_us`: no two entries of an account have one time."""
    within = _until(gt=after_us, lt=wanted.end_us)
    return {
        "size": limit,
        "query": {"bool": _entries(wanted.account, within, with_holds=wanted.include_holds)},
        "sort": [{"created_at_us": "asc"}],
        "track_total_hits": False,
    }


def _entries(account: AccountId, within: Body, *, with_holds: bool) -> Body:
    none_of_its_own = {"bool": {"filter": [MOVES_NOTHING, {"term": {"credit_account": account}}]}}
    return {
        "filter": [{"term": {"accounts": account}}, within],
        "must_not": [DECLINED, none_of_its_own if with_holds else MOVES_NOTHING],
    }


def _until(**bounds: int) -> Body:
    return {"range": {"created_at_us": bounds}}
