"""HistoryService: what happened."""

from __future__ import annotations

from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError
from paycore.domain.money import MAX_MINOR
from paycore.domain.transfers import TransferId
from paycore.runtime.account_names import ACCOUNT, COUNTERPARTY
from paycore.runtime.identifiers import Identifiers
from paycore.runtime.server import Call
from paycore.v1 import history_service_pb2 as pb
from paycore.v1.money_pb2 import Money
from query_service.access import Access
from query_service.page_token import PageTokens, Walk
from query_service.readers.port import HistoryReader, PageKey, ReadTerms, TransferFilter
from query_service.servicers import messages
from query_service.servicers.fields import Fields
from query_service.servicers.names import name_accounts

DEFAULT_PAGE = 50
MAX_PAGE = 500
LISTED = (ACCOUNT, COUNTERPARTY)


class HistoryServicer:
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

    async def GetTransfer(  # noqa: N802 - named as in the contract
        self, request: pb.GetTransferRequest, call: Call
    ) -> pb.GetTransferResponse:
        """One transfer, or the stored decline of that id."""
        fields = Fields()
        transfer = TransferId(fields.identifier("transfer_id", request.transfer_id))
        terms = ReadTerms(call.deadline_s, fields.position("min_position", request.min_position))
        fields.check()
        answer = await self._reader.transfer(transfer, terms)
        shown = self._access.checked_transfer(call.client, transfer, answer.value)
        return pb.GetTransferResponse(
            transfer=messages.transfer(shown), freshness=messages.freshness(answer.freshness)
        )

    async def ListTransfers(  # noqa: N802 - named as in the contract
        self, request: pb.ListTransfersRequest, call: Call
    ) -> pb.ListTransfersResponse:
        """One page of an account's transfers, newest first."""
        await name_accounts(self._identifiers, self._access, call.client, request, *LISTED)
        fields = Fields()
        wanted = _filter(request, fields)
        size = fields.at_most(
            "page_size", request.page_size, default=DEFAULT_PAGE, maximum=MAX_PAGE
        )
        terms = ReadTerms(call.deadline_s, fields.position("min_position", request.min_position))
        walk = self._walk(request.page_token, call.client, wanted, fields)
        fields.check()
        self._access.check_known(call.client, wanted.account)
        # One more than asked tells whether there is a next page.
        after, shown = walk or (None, None)
        answer = await self._reader.transfers(wanted, after, size + 1, terms.at_or_after(shown))
        await self._access.readable_account(call.client, wanted.account, terms, answer.value)
        page = answer.value[:size]
        token = ""
        if len(answer.value) > size:
            last = page[-1]
            token = self._tokens.seal(
                PageKey(last.created_at_us, last.id),
                call.client,
                wanted,
                shown or answer.freshness.position,
            )
        response = pb.ListTransfersResponse(
            transfers=map(messages.transfer, self._access.shown(call.client, page)),
            next_page_token=token,
            freshness=messages.freshness(answer.freshness),
        )
        if request.include_total:
            # Once the caller may read the account: whoever may, is shown all of its list.
            found = (await self._reader.total(wanted, terms.at_or_after(shown))).value
            response.total.count, response.total.at_least = found
        return response

    async def GetBalance(  # noqa: N802 - named as in the contract
        self, request: pb.GetBalanceRequest, call: Call
    ) -> pb.GetBalanceResponse:
        """An account's balance as of the answer's position, or at a time."""
        await name_accounts(self._identifiers, self._access, call.client, request, ACCOUNT)
        fields = Fields()
        account = fields.account(request, ACCOUNT)
        terms = ReadTerms(call.deadline_s, fields.position("min_position", request.min_position))
        at_us = fields.last_us("at_time", request.at_time, given=request.HasField("at_time"))
        fields.check()
        if at_us is not None:
            return await self._balance_at(account, at_us, call.client, terms)
        answer = await self._reader.account(account, terms)
        found = self._access.checked_account(call.client, account, answer.value)
        # An overdraft limit on a balance near the top of int64 would not fit the field.
        available = min(found.balance - found.held + found.overdraft_limit, MAX_MINOR)
        return pb.GetBalanceResponse(
            account_id=found.id,
            balance=Money(minor_units=found.balance, currency=found.currency),
            available_minor_units=available,
            held_minor_units=found.held,
            version=found.version,
            freshness=messages.freshness(answer.freshness),
        )

    async def _balance_at(
        self, account: AccountId, at_us: int, client: str, terms: ReadTerms
    ) -> pb.GetBalanceResponse:
        facts = await self._access.readable_account(client, account, terms)
        answer = await self._reader.balance_at(account, at_us, terms)
        found = answer.value
        return pb.GetBalanceResponse(
            account_id=account,
            balance=Money(minor_units=found.balance, currency=facts.currency),
            held_minor_units=found.held,
            version=found.version,
            freshness=messages.freshness(answer.freshness),
        )

    def _walk(self, token: str, client: str, wanted: TransferFilter, fields: Fields) -> Walk | None:
        # Against a filter that is itself wrong, every token would look wrong.
        if not token or not fields.are_valid:
            return None
        try:
            return self._tokens.walk(token, client, wanted)
        except PaycoreError as error:
            fields.merge(error)
            return None


def _filter(request: pb.ListTransfersRequest, fields: Fields) -> TransferFilter:
    account = fields.account(request, ACCOUNT)
    start_us = fields.time_us(
        "start_time", request.start_time, given=request.HasField("start_time")
    )
    end_us = fields.time_us("end_time", request.end_time, given=request.HasField("end_time"))
    fields.ordered_times(start_us, end_us)
    counterparty = fields.optional_account(request, COUNTERPARTY)
    if counterparty == account:
        fields.refuse("counterparty_account_id", "must be another account than account_id")
    low = request.min_minor_units if request.HasField("min_minor_units") else None
    high = request.max_minor_units if request.HasField("max_minor_units") else None
    if low is not None and low < 0:
        fields.refuse("min_minor_units", "must not be negative")
    if high is not None and high < max(low or 0, 0):
        fields.refuse("max_minor_units", "must not be below min_minor_units or zero")
    return TransferFilter(
        account=account,
        start_us=start_us,
        end_us=end_us,
        kinds=fields.kinds("kinds", request.kinds),
        counterparty=counterparty,
        min_amount=low,
        max_amount=high,
        reference=fields.reference("reference", request.reference),
        include_declines=request.include_declines,
    )
