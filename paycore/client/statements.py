"""Statements: an account's entries between two balances, and the methods of both clients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from paycore.client import replies, requests, rpcs
from paycore.client.calls import Call
from paycore.client.errors import UnexpectedReplyError
from paycore.client.model import AccountName, Freshness, Money
from paycore.domain.sealed import Unreadable
from paycore.domain.transfers import TransferKind
from paycore.runtime.account_names import ACCOUNT
from paycore.v1 import history_service_pb2

Answer = TypeVar("Answer")

DEFAULT_PAGE = 500


@dataclass(frozen=True, slots=True)
class StatementEntry:
    """A transfer as an entry of the account; figures in minor units of its currency.

    `change` is positive for a credit, and zero where nothing moved. `unreadable` says why the
    description is empty though there may have been one. `parent_id` is 0 for none.
    """

    transfer: int
    version: int
    created_at: datetime
    kind: TransferKind
    counterparty: int
    change: int
    balance_after: int
    reference: str
    description: str
    unreadable: Unreadable | None
    parent_id: int


@dataclass(frozen=True, slots=True)
class StatementPage:
    """One page, oldest first: opening and entries give the closing.

    `next_page_token` is empty on the last one.
    """

    account: int
    opening: Money
    entries: tuple[StatementEntry, ...]
    closing: Money
    next_page_token: str
    freshness: Freshness


@dataclass(frozen=True, slots=True)
class StatementFilter:
    """From `start` to before `end`; HOLD and RELEASE, which move nothing, where asked for."""

    account: AccountName
    start: datetime
    end: datetime
    include_holds: bool = False


class Statements(ABC):
    """Part of `PaycoreClient`."""

    @abstractmethod
    async def _run(self, call: Call[Answer]) -> Answer:
        """Send `call` until it has an answer that lasts."""

    async def get_statement_page(
        self,
        wanted: StatementFilter,
        *,
        page_size: int = DEFAULT_PAGE,
        page_token: str = "",
        min_position: str = "",
    ) -> StatementPage:
        """One page of a statement, oldest entry first; at most 1,000 a page."""
        return await self._run(_call(wanted, page_size, page_token, min_position))

    async def get_statement(
        self, wanted: StatementFilter, *, page_size: int = DEFAULT_PAGE, min_position: str = ""
    ) -> AsyncIterator[StatementPage]:
        """All pages of a statement: there is at least one, and each opens with the closing of the
        one before. Raises UnexpectedReplyError where one does not.
        """
        before: StatementPage | None = None
        while before is None or before.next_page_token:
            page = await self.get_statement_page(
                wanted,
                page_size=page_size,
                page_token="" if before is None else before.next_page_token,
                min_position=min_position,
            )
            before = _following(before, page)
            yield page


class BlockingStatements(ABC):
    """Part of `BlockingPaycoreClient`."""

    @abstractmethod
    def _run(self, call: Call[Answer]) -> Answer:
        """Send `call` until it has an answer that lasts."""

    def get_statement_page(
        self,
        wanted: StatementFilter,
        *,
        page_size: int = DEFAULT_PAGE,
        page_token: str = "",
        min_position: str = "",
    ) -> StatementPage:
        """One page of a statement, oldest entry first; at most 1,000 a page."""
        return self._run(_call(wanted, page_size, page_token, min_position))

    def get_statement(
        self, wanted: StatementFilter, *, page_size: int = DEFAULT_PAGE, min_position: str = ""
    ) -> Iterator[StatementPage]:
        """All pages of a statement: there is at least one, and each opens with the closing of the
        one before. Raises UnexpectedReplyError where one does not.
        """
        before: StatementPage | None = None
        while before is None or before.next_page_token:
            page = self.get_statement_page(
                wanted,
                page_size=page_size,
                page_token="" if before is None else before.next_page_token,
                min_position=min_position,
            )
            before = _following(before, page)
            yield page


def _call(
    wanted: StatementFilter, page_size: int, page_token: str, min_position: str
) -> Call[StatementPage]:
    return Call(
        rpcs.GET_STATEMENT,
        history_service_pb2.GetStatementRequest(
            **requests.account_field(ACCOUNT, wanted.account),
            start_time=requests.timestamp(wanted.start),
            end_time=requests.timestamp(wanted.end),
            include_holds=wanted.include_holds,
            page_size=page_size,
            page_token=page_token,
            min_position=min_position,
        ),
        _page,
    )


def _page(message: history_service_pb2.GetStatementResponse) -> StatementPage:
    return StatementPage(
        message.account_id,
        replies.money(message.opening_balance),
        tuple(map(_entry, message.entries)),
        replies.money(message.closing_balance),
        message.next_page_token,
        replies.freshness(message.freshness),
    )


def _entry(message: history_service_pb2.StatementEntry) -> StatementEntry:
    return StatementEntry(
        transfer=message.transfer_id,
        version=message.version,
        created_at=replies.instant(message.create_time),
        kind=replies.transfer_kind(message.kind),
        counterparty=message.counterparty_account_id,
        change=message.change_minor_units,
        balance_after=message.balance_after_minor_units,
        reference=message.reference,
        description=message.description,
        unreadable=replies.details_state(message.details_state),
        parent_id=message.parent_id,
    )


def _following(before: StatementPage | None, page: StatementPage) -> StatementPage:
    if before is not None and page.opening != before.closing:
        raise UnexpectedReplyError("a page does not open with the closing of the one before")
    return page
