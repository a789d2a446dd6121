"""What right requests are about: accounts with money, payments, people who can approve."""

from __future__ import annotations

import random
import secrets
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from paycore.client.sealing import SealingKey
from tests.support.callers import Callers

CLIENTS = ("app", "loadtest")
"""Who moves money."""

KEPT = 200
"""The newest things of one sort that are remembered."""

TIMEOUT_S = 30.0
"""For what is only done to prepare a call."""


class Device(NamedTuple):
    """A device's key, enrolled for a user."""

    user: str
    device_id: str
    key: Ed25519PrivateKey


def newest() -> deque[Any]:
    """A bounded memory."""
    return deque(maxlen=KEPT)


@dataclass
class Books:
    """What one client has."""

    external: int
    accounts: list[int]
    """With money; nothing freezes or closes them on purpose."""
    approving: int
    """An account with money, whose owner has a device."""
    payments: deque[int] = field(default_factory=newest)
    holds: deque[int] = field(default_factory=newest)
    spare: deque[int] = field(default_factory=newest)
    """Empty accounts, to be changed in any way."""
    names: deque[str] = field(default_factory=newest)
    """Values of external identifiers."""
    keys: deque[str] = field(default_factory=newest)


class World:
    """Grows by what the services answer."""

    def __init__(
        self, callers: Callers, rng: random.Random, sealing: SealingKey, owner: Device
    ) -> None:
        """`owner` owns the accounts that `Books.approving` names."""
        self.callers = callers
        self.rng = rng
        self.sealing = sealing
        self.owner = owner
        self.books: dict[str, Books] = {}
        self.with_pin: deque[str] = newest()
        self.devices: deque[tuple[str, str]] = newest()
        """Users and their devices, to be revoked."""
        self.data_keys: deque[int] = newest()
        self.reviews: deque[int] = deque()
        """Payments that wait for a review."""
        self.subscriptions: dict[str, deque[int]] = defaultdict(newest)
        """Of webhooks, by client."""
        self._numbers: dict[str, int] = defaultdict(int)
        self._run = secrets.token_hex(4)

    def new(self, sort: str) -> str:
        """A name that nothing had before."""
        self._numbers[sort] += 1
        return f"fuzz-{sort}-{self._run}-{self._numbers[sort]}"

    def two_of(self, client: str) -> tuple[int, int]:
        """Two accounts of `client` that have money."""
        debit, credit = self.rng.sample(self.books[client].accounts, 2)
        return debit, credit

    def one_of(self, things: deque[Any]) -> Any:
        """Any of `things`; raises IndexError where there are none."""
        return self.rng.choice(things)


Build = Callable[[World, str], Awaitable[Any]]
"""Makes a right request of the client named."""

Learn = Callable[[World, str, Any, Any], None]
"""Remembers what came of a client's request: the request, the reply."""


def books_of(world: World, client: str) -> Books:
    """What `client` may read, or what another has, to be asked for without a right to it."""
    return world.books.get(client) or world.books["app"]


class Right(NamedTuple):
    """How to call one method rightly."""

    build: Build
    learn: Learn = lambda *_: None
