"""Searching and watching: methods of the client for an event loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from paycore.client import rpcs, search
from paycore.client.calls import Call
from paycore.client.core import REQUEST_ID_KEY, Core, Lanes, label
from paycore.client.errors import ClientError, UnreachableError
from paycore.client.model import AccountName, Transfer
from paycore.client.rpcs import Service
from paycore.client.watching import TransferWatch, WatchState

Answer = TypeVar("Answer")


class Reading(ABC):
    """Part of `PaycoreClient`."""

    _core: Core

    @abstractmethod
    async def _run(self, call: Call[Answer]) -> Answer:
        """Send `call` until it has an answer that lasts."""

    @abstractmethod
    def _to(self, service: Service) -> Lanes:
        """The channels to `service`."""

    @abstractmethod
    async def _diagnosed(self, service: Service, failure: UnreachableError) -> ClientError:
        """Look closer at why `service` cannot be reached."""

    async def search_transfers_page(
        self,
        wanted: search.SearchFilter,
        *,
        page_size: int = 50,
        page_token: str = "",
        min_position: str = "",
        include_total: bool = False,
    ) -> search.SearchPage:
        """One page of what matches, newest first; at most 500 a page."""
        return await self._run(
            search.search_transfers(
                wanted, page_size, page_token, min_position, include_total=include_total
            )
        )

    async def search_transfers(
        self, wanted: search.SearchFilter, *, page_size: int = 50, min_position: str = ""
    ) -> AsyncIterator[Transfer]:
        """All that matches, newest first, a page at a time."""
        token = ""
        while True:
            page = await self.search_transfers_page(
                wanted, page_size=page_size, page_token=token, min_position=min_position
            )
            for transfer in page.transfers:
                yield transfer
            token = page.next_page_token
            if not token:
                return

    def watch_transfers(
        self, account: AccountName, *, start: str = "", include_declines: bool = False
    ) -> TransferWatch:
        """An account's transfers as they are posted, in the order of its entries: none missing,
        none twice, whatever becomes of connections and services meanwhile.

        `start` is a `resume_token` of such a watch, a position of a reply, or empty: from now on.
        With `include_declines` the account's declined payments come between. Raises ClientError
        where going on cannot help, such as NotPermittedError when the grant to read is taken away,
        or after the total time without a word.
        """
        request_id = self._core.surroundings.new_text()

        def open_call(request: Any) -> Any:
            begin = self._to(Service.QUERY).next(rpcs.WATCH_TRANSFERS)
            return begin(request, metadata=((REQUEST_ID_KEY, request_id),))

        async def diagnose(failure: ClientError) -> ClientError:
            if isinstance(failure, UnreachableError):
                failure = await self._diagnosed(Service.QUERY, failure)
            return label(failure, request_id, None)

        state = WatchState(self._core, account, start, declines=include_declines)
        return TransferWatch(state, open_call, diagnose)
