"""HistoryService: an account's entries between two balances."""

from __future__ import annotations

import structlog

from paycore.domain.errors import PaycoreError
from paycore.runtime.account_names import ACCOUNT
from paycore.runtime.identifiers import Identifiers
from paycore.runtime.server import Call
from paycore.v1 import history_service_pb2 as pb
from paycore.v1.money_pb2 import Money
from query_service.access import Access
from query_service.metrics import UNBALANCED
from query_service.page_token import PageTokens, StatementWalk
from query_service.readers.port import (
    HistoryReader,
    ReadTerms,
    StatementFilter,
    StatementPlace,
)
from query_service.readers.records import StatementPage
from query_service.servicers import messages
from query_service.servicers.fields import Fields
from query_service.servicers.names import name_accounts
from query_service.statements import fault

DEFAULT_PAGE = 500
MAX_PAGE = 1_000

log = structlog.get_logger()


class StatementUnbalancedError(Exception):
    """A statement that does not balance: it is never sent, and someone must look why."""


class StatementServicer:
    """Answers from `reader` what `access` lets the calling client see."""

    def __init__(
        self,
        reader: HistoryReader,
        access: Access,
        identifiers: Identifiers,
        tokens: PageTokens,
    ) -> None:
        self._reader = reader
        self._access = access
        self._identifiers = identifiers
        self._tokens = tokens

    async def GetStatement(  # noqa: N802 - named as in the contract
        self, request: pb.GetStatementRequest, call: Call
    ) -> pb.GetStatementResponse:
        """One page of a statement, which balances. Raises StatementUnbalancedError."""
        await name_accounts(self._identifiers, self._access, call.client, request, ACCOUNT)
        fields = Fields()
        wanted = _filter(request, fields)
        size = fields.at_most(
            "page_size", request.page_size, default=DEFAULT_PAGE, maximum=MAX_PAGE
        )
        terms = ReadTerms(call.deadline_s, fields.position("min_position", request.min_position))
        walk = self._walk(request.page_token, call.client, wanted, fields)
        fields.check()
        facts = await self._access.readable_account(call.client, wanted.account, terms)
        after, shown = walk or (None, None)
        # One more than asked tells whether there is a next page.
        answer = await self._reader.statement(wanted, after, size + 1, terms.at_or_after(shown))
        page = StatementPage(answer.value.opening, answer.value.entries[:size])
        _check(page, after, wanted, answer.freshness.source)
        token = ""
        if len(answer.value.entries) > size:
            last = page.entries[-1]
            token = self._tokens.seal_statement(
                StatementPlace(last.version, last.created_at_us, last.balance_after),
                call.client,
                wanted,
                shown or answer.freshness.position,
            )
        return pb.GetStatementResponse(
            account_id=wanted.account,
            currency=facts.currency,
            opening_balance=Money(minor_units=page.opening, currency=facts.currency),
            entries=map(messages.entry, page.entries),
            closing_balance=Money(minor_units=page.closing, currency=facts.currency),
            next_page_token=token,
            freshness=messages.freshness(answer.freshness),
        )

    def _walk(
        self, token: str, client: str, wanted: StatementFilter, fields: Fields
    ) -> StatementWalk | None:
        # Against a filter that is itself wrong, every token would look wrong.
        if not token or not fields.are_valid:
            return None
        try:
            return self._tokens.statement_walk(token, client, wanted)
        except PaycoreError as error:
            fields.merge(error)
            return None


def _check(
    page: StatementPage, after: StatementPlace | None, wanted: StatementFilter, source: str
) -> None:
    """The last look before a page is sent."""
    if after is not None:
        opened_at = after.version
    else:
        opened_at = page.entries[0].version - 1 if page.entries else 0
    wrong = fault(page, opened_at, gap_free=wanted.include_holds)
    if wrong is None and after is not None and page.opening != after.balance:
        wrong = "the page does not open with the closing of the one before"
    if wrong is not None:
        UNBALANCED.labels(source).inc()
        log.error("a statement does not balance", account=wanted.account, source=source, why=wrong)
        raise StatementUnbalancedError(f"account {wanted.account}: {wrong}")


def _filter(request: pb.GetStatementRequest, fields: Fields) -> StatementFilter:
    account = fields.account(request, ACCOUNT)
    start_us = fields.required_time_us("start_time", request)
    end_us = fields.required_time_us("end_time", request)
    if fields.are_valid:
        fields.ordered_times(start_us, end_us)
    return StatementFilter(account, start_us, end_us, request.include_holds)
