"""Searching and watching: methods of the blocking client."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grpc

from paycore.client import rpcs, search
from paycore.client.calls import Call
from paycore.client.core import REQUEST_ID_KEY, Core, Lanes, label
from paycore.client.errors import ClientError, UnreachableError
from paycore.client.failures import failure_of
from paycore.client.model import AccountName, Transfer
from paycore.client.rpcs import Service
from paycore.client.watching import WatchState
from paycore.v1 import history_service_pb2 as pb

Answer = TypeVar("Answer")


class BlockingTransferWatch:
    """`TransferWatch` without an event loop: iterate over it. `close` ends it, from any thread."""

    def __init__(
        self,
        state: WatchState,
        open_call: Callable[[pb.WatchTransfersRequest], Any],
        diagnose: Callable[[ClientError], ClientError],
    ) -> None:
        """`open_call` begins a call of gRPC's, `diagnose` looks closer at why one failed."""
        self._state = state
        self._open_call = open_call
        self._diagnose = diagnose
        self._call: Any = None
        self._closed = False
        self._transfers = self._watch()

    @property
    def resume_token(self) -> str:
        """Where to go on from; as given at the start until something was heard."""
        return self._state.resume_token

    def __iter__(self) -> Iterator[Transfer]:
        return self._transfers

    def close(self) -> None:
        """End the watch: whoever iterates over it comes to its end."""
        self._closed = True
        if self._call is not None:
            self._call.cancel()

    def _watch(self) -> Iterator[Transfer]:
        while not self._closed:
            failure: ClientError | None = None
            self._call = call = self._open_call(self._state.request())
            try:
                for message in call:
                    transfer = self._state.take(message)
                    if transfer is not None:
                        yield transfer
            except grpc.RpcError as error:
                failure = failure_of(error)
            finally:
                call.cancel()
            if not self._closed:
                failure = None if failure is None else self._diagnose(failure)
                time.sleep(self._state.pause_s(failure))


class BlockingReading(ABC):
    """Part of `BlockingPaycoreClient`."""

    _core: Core

    @abstractmethod
    def _run(self, call: Call[Answer]) -> Answer:
        """Send `call` until it has an answer that lasts."""

    @abstractmethod
    def _to(self, service: Service) -> Lanes:
        """The channels to `service`."""

    @abstractmethod
    def _diagnosed(self, service: Service, failure: UnreachableError) -> ClientError:
        """Look closer at why `service` cannot be reached."""

    def search_transfers_page(
        self,
        wanted: search.SearchFilter,
        *,
        page_size: int = 50,
        page_token: str = "",
        min_position: str = "",
        include_total: bool = False,
    ) -> search.SearchPage:
        """One page of what matches, newest first; at most 500 a page."""
        return self._run(
            search.search_transfers(
                wanted, page_size, page_token, min_position, include_total=include_total
            )
        )

    def search_transfers(
        self, wanted: search.SearchFilter, *, page_size: int = 50, min_position: str = ""
    ) -> Iterator[Transfer]:
        """All that matches, newest first, a page at a time."""
        token = ""
        while True:
            page = self.search_transfers_page(
                wanted, page_size=page_size, page_token=token, min_position=min_position
            )
            yield from page.transfers
            token = page.next_page_token
            if not token:
                return

    def watch_transfers(
        self, account: AccountName, *, start: str = "", include_declines: bool = False
    ) -> BlockingTransferWatch:
        """An account's transfers as they are posted, as `PaycoreClient.watch_transfers` gives."""
        request_id = self._core.surroundings.new_text()

        def open_call(request: Any) -> Any:
            begin = self._to(Service.QUERY).next(rpcs.WATCH_TRANSFERS)
            return begin(request, metadata=((REQUEST_ID_KEY, request_id),))

        def diagnose(failure: ClientError) -> ClientError:
            if isinstance(failure, UnreachableError):
                failure = self._diagnosed(Service.QUERY, failure)
            return label(failure, request_id, None)

        state = WatchState(self._core, account, start, declines=include_declines)
        return BlockingTransferWatch(state, open_call, diagnose)
