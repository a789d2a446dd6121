"""HistoryService.SearchTransfers: transfers by what is said of them."""

from __future__ import annotations

from collections.abc import Mapping

from paycore.domain.errors import PaycoreError
from paycore.runtime.account_names import ACCOUNT, COUNTERPARTY
from paycore.runtime.identifiers import Identifiers
from paycore.runtime.server import Call
from paycore.v1 import history_service_pb2 as pb
from query_service.access import Access
from query_service.page_token import PageTokens
from query_service.readers.port import PageKey, ReadTerms
from query_service.readers.search_port import Searcher, SearchFilter
from query_service.servicers import messages
from query_service.servicers.fields import Fields
from query_service.servicers.history import DEFAULT_PAGE, LISTED, MAX_PAGE
from query_service.servicers.names import name_accounts

MAX_TEXT = 200
MAX_WORDS = 10
MAX_PAIRS = 5
MAX_PAIR = 1_024
"""Bounds in characters of a text and of a pair of metadata, and on how many of these."""


class SearchServicer:
    """Answers from `searcher` what `access` lets the calling client see."""

    def __init__(
        self,
        searcher: Searcher,
        access: Access,
        identifiers: Identifiers,
        tokens: PageTokens,
    ) -> None:
        self._searcher = searcher
        self._access = access
        self._identifiers = identifiers
        self._tokens = tokens

    async def SearchTransfers(  # noqa: N802 - named as in the contract
        self, request: pb.SearchTransfersRequest, call: Call
    ) -> pb.SearchTransfersResponse:
        """One page of what matches, newest first."""
        await name_accounts(self._identifiers, self._access, call.client, request, *LISTED)
        fields = Fields()
        wanted = _filter(request, fields)
        size = fields.at_most(
            "page_size", request.page_size, default=DEFAULT_PAGE, maximum=MAX_PAGE
        )
        terms = ReadTerms(call.deadline_s, fields.position("min_position", request.min_position))
        after = self._place(request.page_token, call.client, wanted, fields)
        fields.check()
        if wanted.account is not None:
            await self._access.readable_account(call.client, wanted.account, terms)
        # One more than asked tells whether there is a next page.
        answer = await self._searcher.search(
            wanted,
            self._access.viewer(call.client),
            after,
            size + 1,
            terms,
            with_total=request.include_total,
        )
        found, page = answer.value, answer.value.transfers[:size]
        token = ""
        if len(found.transfers) > size:
            last = page[-1]
            token = self._tokens.seal(PageKey(last.created_at_us, last.id), call.client, wanted)
        response = pb.SearchTransfersResponse(
            transfers=map(messages.transfer, self._access.shown(call.client, list(page))),
            next_page_token=token,
            freshness=messages.freshness(answer.freshness),
        )
        if found.total is not None:
            response.total.count, response.total.at_least = found.total
        return response

    def _place(
        self, token: str, client: str, wanted: SearchFilter, fields: Fields
    ) -> PageKey | None:
        # Against a filter that is itself wrong, every token would look wrong.
        if not token or not fields.are_valid:
            return None
        try:
            return self._tokens.open(token, client, wanted)
        except PaycoreError as error:
            fields.merge(error)
            return None


def _filter(request: pb.SearchTransfersRequest, fields: Fields) -> SearchFilter:
    start_us = fields.time_us(
        "start_time", request.start_time, given=request.HasField("start_time")
    )
    end_us = fields.time_us("end_time", request.end_time, given=request.HasField("end_time"))
    fields.ordered_times(start_us, end_us)
    account = fields.optional_account(request, ACCOUNT)
    counterparty = fields.optional_account(request, COUNTERPARTY)
    named = request.HasField("account_identifier") or account is not None
    if counterparty is not None and (account == counterparty or not named):
        fields.refuse("counterparty_account_id", "must be another account beside account_id")
    low = request.min_minor_units if request.HasField("min_minor_units") else None
    high = request.max_minor_units if request.HasField("max_minor_units") else None
    if low is not None and low < 0:
        fields.refuse("min_minor_units", "must not be negative")
    if high is not None and high < max(low or 0, 0):
        fields.refuse("max_minor_units", "must not be below min_minor_units or zero")
    return SearchFilter(
        words=_words(request.text, fields),
        metadata=_metadata(request.metadata, fields),
        account=account,
        counterparty=counterparty,
        start_us=start_us,
        end_us=end_us,
        kinds=fields.kinds("kinds", request.kinds),
        currency=fields.currency("currency", request.currency),
        min_amount=low,
        max_amount=high,
        include_declines=request.include_declines,
    )


def _words(text: str, fields: Fields) -> tuple[str, ...]:
    if len(text) > MAX_TEXT:
        fields.refuse("text", f"at most {MAX_TEXT} characters")
        return ()
    words = tuple(text.split())
    if len(words) > MAX_WORDS:
        fields.refuse("text", f"at most {MAX_WORDS} words")
    elif not all(word.isprintable() and any(map(str.isalnum, word)) for word in words):
        # The index knows words by their letters and digits: others would find nothing.
        fields.refuse("text", "must be printable words, each with a letter or a digit")
    return words


def _metadata(pairs: Mapping[str, str], fields: Fields) -> tuple[tuple[str, str], ...]:
    if len(pairs) > MAX_PAIRS:
        fields.refuse("metadata", f"at most {MAX_PAIRS} pairs")
    for key, value in pairs.items():
        if not key or not key.isprintable() or "\0" in value:
            fields.refuse("metadata", "has a key or a value that no transfer has")
        elif len(key) + len(value) > MAX_PAIR:
            fields.refuse("metadata", f"at most {MAX_PAIR} characters a pair")
    return tuple(sorted(pairs.items()))
