"""Searching: what is asked, what comes back, and the call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from paycore.client import replies, rpcs
from paycore.client.calls import Call
from paycore.client.model import AccountName, Freshness, TotalCount, Transfer
from paycore.client.requests import account_field, kind_value, optional_timestamp
from paycore.domain.transfers import TransferKind
from paycore.runtime.account_names import ACCOUNT, COUNTERPARTY
from paycore.v1 import history_service_pb2 as pb


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """Which transfers to find, of all that the caller may see.

    Each word of `text` stands in the description or the reference, the last as the beginning of a
    word. `metadata` are pairs that must all be there: they find only transfers whose metadata the
    caller may see. Bounds on the amount are inclusive, in minor units; `start` is inclusive, `end`
    exclusive; `counterparty` is the other account beside `account`.
    """

    text: str = ""
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    account: AccountName | None = None
    counterparty: AccountName | None = None
    start: datetime | None = None
    end: datetime | None = None
    kinds: tuple[TransferKind, ...] = ()
    currency: str = ""
    min_amount: int | None = None
    max_amount: int | None = None
    include_declines: bool = False


@dataclass(frozen=True, slots=True)
class SearchPage:
    """One page, newest first. `next_page_token` is empty on the last one, `total` is None where it
    was not asked for."""

    transfers: tuple[Transfer, ...]
    next_page_token: str
    freshness: Freshness
    total: TotalCount | None


def search_transfers(
    wanted: SearchFilter,
    page_size: int,
    page_token: str,
    min_position: str,
    *,
    include_total: bool,
) -> Call[SearchPage]:
    """One page of a search."""
    request = pb.SearchTransfersRequest(
        text=wanted.text,
        metadata=wanted.metadata,
        **({} if wanted.account is None else account_field(ACCOUNT, wanted.account)),
        **({} if wanted.counterparty is None else account_field(COUNTERPARTY, wanted.counterparty)),
        start_time=optional_timestamp(wanted.start),
        end_time=optional_timestamp(wanted.end),
        kinds=[kind_value(kind) for kind in wanted.kinds],
        currency=wanted.currency,
        min_minor_units=wanted.min_amount,
        max_minor_units=wanted.max_amount,
        include_declines=wanted.include_declines,
        page_size=page_size,
        page_token=page_token,
        min_position=min_position,
        include_total=include_total,
    )
    return Call(rpcs.SEARCH_TRANSFERS, request, _page)


def _page(message: pb.SearchTransfersResponse) -> SearchPage:
    return SearchPage(
        tuple(replies.transfer(item) for item in message.transfers),
        message.next_page_token,
        replies.freshness(message.freshness),
        replies.total(message),
    )
