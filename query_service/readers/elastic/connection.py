"""Bounded, typed access to Elasticsearch: every request ends by its deadline, in an answer or in a
PaycoreError.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog
from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch

from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.clock import Clock

CONNECTIONS = 16
MAX_UNDER_WAY = 256
"""Requests that may run or wait for a connection; more are refused."""

MAX_WAIT_S = 10.0
"""No request takes longer, whatever its caller's deadline."""

ANSWER_MARGIN_S = 0.02
ANSWER_MARGIN_SHARE = 0.1
"""What a request leaves of the call's time, so that the refusal still reaches the caller: the
larger of the two.
"""

RETRY_AFTER_MS = 500

_NOT_FOUND = 404
_BAD_REQUEST = 400
_HEADERS = {"accept": "application/json", "content-type": "application/json"}

log = structlog.get_logger()


class Connection:
    """Requests to one cluster, all as plain JSON: the client's typed methods cost twice as much."""

    def __init__(self, client: AsyncElasticsearch, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._under_way = 0

    @property
    def under_way(self) -> int:
        """Requests that run or wait for a connection now."""
        return self._under_way

    async def search(self, index: str, body: Mapping[str, Any], deadline_s: float) -> Any:
        """The reply to a search that every shard answered in full.

        Raises PaycoreError INDEX_UNAVAILABLE, OVERLOADED or DEADLINE_EXCEEDED.
        """
        # A partial result would be a wrong answer: fewer transfers, smaller sums.
        path = f"/{index}/_search?allow_partial_search_results=false"
        try:
            reply = await self._send("POST", path, body, deadline_s)
        except ApiError as error:
            raise _unavailable(error) from error
        if reply["timed_out"] or reply["_shards"]["failed"]:
            raise PaycoreError(
                Reason.INDEX_UNAVAILABLE,
                "the index answered in part only",
                retry_after_ms=RETRY_AFTER_MS,
            )
        return reply

    async def document(self, index: str, key: str, deadline_s: float, *, realtime: bool) -> Any:
        """The source of one document, or None; not `realtime` sees what searches see.

        Raises PaycoreError as `search` does, INDEX_UNAVAILABLE also where there is no such index.
        """
        path = f"/{index}/_doc/{key}?realtime={'true' if realtime else 'false'}"
        try:
            reply = await self._send("GET", path, None, deadline_s)
        except ApiError as error:
            if error.meta.status == _NOT_FOUND and _is_missing_document(error.body):
                return None
            raise _unavailable(error) from error
        return reply["_source"]

    async def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None, deadline_s: float
    ) -> Any:
        if self._under_way >= MAX_UNDER_WAY:
            raise PaycoreError(Reason.OVERLOADED, "too many queries are under way")
        remaining_s = deadline_s - self._clock.monotonic_s()
        margin_s = max(ANSWER_MARGIN_S, remaining_s * ANSWER_MARGIN_SHARE)
        wait_s = min(MAX_WAIT_S, remaining_s - margin_s)
        if wait_s <= 0:
            raise PaycoreError(Reason.DEADLINE_EXCEEDED, "no time is left to ask the index")
        self._under_way += 1
        try:
            # Leaving early closes the connection, and Elasticsearch then drops the search.
            async with asyncio.timeout(wait_s):
                reply = await self._client.perform_request(
                    method, path, headers=_HEADERS, body=body
                )
        except (TransportError, TimeoutError) as error:
            raise PaycoreError(
                Reason.INDEX_UNAVAILABLE,
                "the index does not answer",
                retry_after_ms=RETRY_AFTER_MS,
            ) from error
        finally:
            self._under_way -= 1
        return reply.body


def _is_missing_document(body: object) -> bool:
    return isinstance(body, dict) and body.get("found") is False


def _unavailable(error: ApiError) -> PaycoreError:
    if error.meta.status == _BAD_REQUEST:
        # The query itself is at fault: a defect, which the caller cannot wait out.
        raise error
    log.warning("index refused a request", status=error.meta.status, error=error.error)
    return PaycoreError(
        Reason.INDEX_UNAVAILABLE,
        f"the index answered with status {error.meta.status}",
        retry_after_ms=RETRY_AFTER_MS,
    )
