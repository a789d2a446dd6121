"""One attempt: a POST whose answer is a status, or the reason why there is none."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from enum import StrEnum
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp

from paycore.domain.webhooks import url_fault
from projector.webhooks.addresses import (
    AddressRefusedError,
    AddressRules,
    CheckedResolver,
    Look,
    system_look,
)
from projector.webhooks.schedule import retry_after_s

READ_AT_MOST = 1_024
"""Bytes of an answer's body that are read, so that an endpoint sees its answer taken."""

MAX_HEADER = 8_190
USER_AGENT = "paycore-webhooks/1"


class Failure(StrEnum):
    """Why an attempt has no status."""

    TIMED_OUT = "TIMED_OUT"
    NAME_NOT_FOUND = "NAME_NOT_FOUND"
    ADDRESS_REFUSED = "ADDRESS_REFUSED"
    """The endpoint's name leads to an address to which nothing is sent."""
    URL_REFUSED = "URL_REFUSED"
    """The settings of now do not allow it any more."""
    NOT_CONNECTED = "NOT_CONNECTED"
    CERTIFICATE_REFUSED = "CERTIFICATE_REFUSED"
    BAD_ANSWER = "BAD_ANSWER"
    """No HTTP, or the connection broke."""
    SECRET_ERASED = "SECRET_ERASED"  # noqa: S105  # the name of a failure
    """There is no key any more for any secret: rotate it."""


class Answer(NamedTuple):
    """A status, or a failure; and what the endpoint asked to wait, in seconds."""

    status: int | None = None
    failure: Failure | None = None
    wait_s: float | None = None

    @property
    def taken(self) -> bool:
        """Whether the endpoint has it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def label(self) -> str:
        """For metrics: 2xx, 3xx and so on, or the failure."""
        if self.failure is not None:
            return self.failure.value
        return f"{(self.status or 0) // 100}xx"


class Sender:
    """Posts to endpoints: no redirects, no cookies, no proxies, a connection for each attempt."""

    def __init__(
        self,
        rules: AddressRules,
        *,
        within_s: float,
        http: bool,
        look: Look = system_look,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        """`trust` says whose certificates are believed, where not the system's own."""
        self._rules = rules
        self._within_s = within_s
        self._http = http
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=CheckedResolver(rules, look),
                use_dns_cache=False,
                force_close=True,
                limit=0,
                ssl=trust or True,
            ),
            timeout=aiohttp.ClientTimeout(total=within_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=READ_AT_MOST,
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
        )

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send `body`; whatever goes wrong is an answer, within `within_s` seconds."""
        if url_fault(url, http=self._http) is not None:
            return Answer(failure=Failure.URL_REFUSED)
        try:
            # An address needs no resolver.
            self._check_literal(url)
            async with (
                asyncio.timeout(self._within_s),
                self._session.post(
                    url,
                    data=body,
                    headers={
                        **headers,
                        "Content-Type": "application/json",
                        "User-Agent": USER_AGENT,
                        "Accept-Encoding": "identity",
                    },
                    allow_redirects=False,
                ) as response,
            ):
                status, asked = response.status, response.headers.get("Retry-After")
                response.close()
        except (TimeoutError, OSError, aiohttp.ClientError, ValueError) as error:
            return Answer(failure=_failure(error))
        return Answer(status, wait_s=retry_after_s(asked, time.time()))

    async def close(self) -> None:
        """End what is open."""
        await self._session.close()

    def _check_literal(self, url: str) -> None:
        host = urlsplit(url).hostname or ""
        try:
            ip_address(host)
        except ValueError:
            return
        self._rules.check(host)


def _failure(error: BaseException) -> Failure:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, AddressRefusedError):
        return Failure.ADDRESS_REFUSED
    match error:
        case aiohttp.ClientConnectorDNSError():
            return Failure.NAME_NOT_FOUND
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return Failure.CERTIFICATE_REFUSED
        case TimeoutError():
            return Failure.TIMED_OUT
        case aiohttp.ClientConnectorError():
            return Failure.NOT_CONNECTED
        case aiohttp.InvalidURL():
            return Failure.URL_REFUSED
        case _:
            return Failure.BAD_ANSWER
