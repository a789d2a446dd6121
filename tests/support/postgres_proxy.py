"""A TCP proxy before PostgreSQL that cuts connections where it hurts most."""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import Enum, auto
from urllib.parse import urlsplit, urlunsplit

from tests.support.tcp_proxy import Link, TcpProxy

_COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
"""The simple query COMMIT, as a frontend sends it (PostgreSQL frontend/backend protocol)."""

_COMMITTED = b"COMMIT\x00"


class Cut(Enum):
    """Where in the life of a COMMIT the connection is cut."""

    BEFORE = auto()
    """The server never sees it."""
    AFTER = auto()
    """The server has committed; the client never hears of it."""


class PostgresProxy(TcpProxy):
    """A proxy that knows where a transaction commits."""

    def __init__(self, dsn: str) -> None:
        """`dsn` is a URL of the server behind."""
        self._dsn = urlsplit(dsn)
        assert self._dsn.hostname is not None
        assert self._dsn.port is not None
        super().__init__(self._dsn.hostname, self._dsn.port)
        self._armed: list[Cut] = []
        self._chance: tuple[random.Random, float] | None = None
        self.cuts = 0
        """Connections cut so far."""
        self.struck: Callable[[], None] | None = None
        """Called at each cut, before the client can see it."""

    @property
    def dsn(self) -> str:
        """The same place through this proxy."""
        credentials = self._dsn.netloc.rpartition("@")[0]
        return urlunsplit(self._dsn._replace(netloc=f"{credentials}@127.0.0.1:{self.port}"))

    def cut_next(self, *cuts: Cut) -> None:
        """Cut the next commits on any connection, one each."""
        self._armed.extend(cuts)

    def cut_often(self, rng: random.Random, share: float) -> None:
        """Cut this share of all commits from now on, in either way."""
        self._chance = (rng, share)

    def cut_never(self) -> None:
        """Let everything pass again."""
        self._armed.clear()
        self._chance = None
        self.refusing = False

    def new_link(self) -> Link:
        return _Commits(self)

    def count_cut(self) -> None:
        """A connection is cut at its commit."""
        self.cuts += 1
        if self.struck is not None:
            self.struck()

    def verdict(self) -> Cut | None:
        """Where the commit that comes now is to be cut."""
        if self._armed:
            return self._armed.pop(0)
        if self._chance is not None:
            rng, share = self._chance
            if rng.random() < share:
                return rng.choice(list(Cut))
        return None


class _Commits(Link):
    """One connection, and whether the reply to its commit must not arrive."""

    def __init__(self, proxy: PostgresProxy) -> None:
        self._proxy = proxy
        self._swallow = False

    def lets_ask(self, asked: bytes) -> bool:
        if asked.endswith(_COMMIT):
            cut = self._proxy.verdict()
            if cut is Cut.BEFORE:
                self._proxy.count_cut()
                return False
            self._swallow = cut is Cut.AFTER
        return True

    def lets_answer(self, answer: bytes) -> bool:
        if self._swallow and _COMMITTED in answer:
            self._proxy.count_cut()
            return False
        return True
