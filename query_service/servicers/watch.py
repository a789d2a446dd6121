"""HistoryService.WatchTransfers: what happens, as it happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.position import Position
from paycore.runtime.account_names import ACCOUNT
from paycore.runtime.clock import Clock
from paycore.runtime.identifiers import Identifiers
from paycore.runtime.server import Call
from paycore.v1 import history_service_pb2 as pb
from query_service.access import Access
from query_service.readers.port import ReadTerms
from query_service.servicers import messages
from query_service.servicers.fields import Fields
from query_service.servicers.names import name_accounts
from query_service.watching import metrics
from query_service.watching.port import LAST_ID, DeclinePlace, Place, WatchedLedger
from query_service.watching.start import place_after
from query_service.watching.subscription import BehindError
from query_service.watching.tail import Tail, history_replaced
from query_service.watching.tokens import TOKEN_CHARACTERS, WatchKey, WatchTokens
from query_service.watching.watch import Step, Watch
from query_service.watching.watchers import Watchers

FACTS_WITHIN_S = 5.0
BEHIND_RETRY_AFTER_MS = 500


@dataclass(frozen=True, slots=True)
class _Start:
    place: Place
    epoch: int
    position: Position | None


class WatchServicer:
    """Sends what `access` lets the calling client see, for as long as it may."""

    def __init__(
        self,
        ledger: WatchedLedger,
        tail: Tail,
        access: Access,
        identifiers: Identifiers,
        tokens: WatchTokens,
        watchers: Watchers,
        clock: Clock,
    ) -> None:
        """`access` finds accounts where `ledger` does."""
        self._ledger = ledger
        self._tail = tail
        self._access = access
        self._identifiers = identifiers
        self._tokens = tokens
        self._watchers = watchers
        self._clock = clock

    async def WatchTransfers(  # noqa: N802 - named as in the contract
        self, request: pb.WatchTransfersRequest, call: Call
    ) -> AsyncIterator[pb.WatchTransfersResponse]:
        """An account's transfers in the order of its entries, and its declines between them."""
        await name_accounts(self._identifiers, self._access, call.client, request, ACCOUNT)
        fields = Fields()
        account = fields.account(request, ACCOUNT)
        bound = WatchKey(call.client, account, request.include_declines)
        asked = self._asked(request.start_position, bound, fields)
        fields.check()
        self._access.check_reads(call.client)
        with self._watchers.admitted(call.client):
            terms = ReadTerms(self._clock.monotonic_s() + FACTS_WITHIN_S)
            await self._access.readable_account(call.client, account, terms)
            start = await self._start(asked, account)
            watch = Watch(
                self._ledger,
                self._tail,
                self._clock,
                account,
                start.place,
                start.epoch,
                declines=request.include_declines,
            )
            yield self._response(Step(None, start.place, start.position), start.epoch, bound)
            place = start.place
            try:
                async with aclosing(watch.steps()) as steps:
                    async for step in steps:
                        # For each: a grant may have been taken away since.
                        await self._access.readable_account(call.client, account, terms)
                        place = step.place
                        yield self._response(step, start.epoch, bound)
            except BehindError:
                metrics.BEHIND.inc()
                raise PaycoreError(
                    Reason.WATCHER_BEHIND,
                    "more happened than was read: go on from resume_token",
                    {"resume_token": self._tokens.seal(place, start.epoch, bound)},
                    retry_after_ms=BEHIND_RETRY_AFTER_MS,
                ) from None

    def _asked(
        self, text: str, bound: WatchKey, fields: Fields
    ) -> Position | tuple[Place, int] | None:
        # Against a request that is itself wrong, every token would look wrong.
        if not text or not fields.are_valid:
            return None
        if len(text) == TOKEN_CHARACTERS:
            try:
                return self._tokens.open(text, bound)
            except PaycoreError as error:
                fields.merge(error)
                return None
        position = fields.position("start_position", text)
        if position is not None and max(position.xid, position.journal_id) > LAST_ID:
            fields.refuse("start_position", "is not a position from a reply")
        return position

    async def _start(
        self, asked: Position | tuple[Place, int] | None, account: AccountId
    ) -> _Start:
        match asked:
            case None:
                now = await self._ledger.account_now(account)
                decline = DeclinePlace(now.complete_below - 1, LAST_ID)
                return _Start(Place(now.version, decline), now.position.epoch, now.position)
            case Position():
                place = await place_after(self._ledger, self._clock, account, asked)
                return _Start(place, asked.epoch, asked)
            case (place, epoch):
                now = await self._ledger.account_now(account)
                if now.position.epoch != epoch:
                    raise history_replaced(now.position.epoch)
                return _Start(place, epoch, None)

    def _response(self, step: Step, epoch: int, bound: WatchKey) -> pb.WatchTransfersResponse:
        token = self._tokens.seal(step.place, epoch, bound)
        if step.event is None:
            position = "" if step.position is None else step.position.encode()
            return pb.WatchTransfersResponse(
                heartbeat=pb.Heartbeat(position=position), resume_token=token
            )
        (shown,) = self._access.shown(bound.client, [step.event.record])
        return pb.WatchTransfersResponse(transfer=messages.transfer(shown), resume_token=token)
