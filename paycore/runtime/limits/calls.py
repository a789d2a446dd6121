"""Which limits a call draws on, and the refusal when one is exceeded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.limits import Limit, RateLimit
from paycore.runtime.addresses import packed
from paycore.runtime.gate import Method
from paycore.runtime.limits.rate import Charge, Excess
from paycore.runtime.limits.table import LimitTable

IPV4_BYTES = 4
IPV6_NETWORK_BYTES = 8
"""An IPv6 address counts as its network: whoever has one address of it has them all (RFC 6177)."""

_IPV4_IN_IPV6 = bytes(10) + b"\xff\xff"
_KEY_BYTES = 16


class Actor(Protocol):
    """paycore.v1.Actor."""

    user_id: str
    device_id: str
    ip_address: str


class Decider(Protocol):
    """Takes from limits."""

    async def decide(self, charges: Sequence[Charge]) -> Excess | None:
        """Take all of `charges`, or none and say which is exceeded."""
        ...

    async def decide_each(self, calls: Sequence[Sequence[Charge]]) -> list[Excess | None]:
        """As `decide`, for each of `calls` by itself."""
        ...


class _ActorLimit(NamedTuple):
    """One limit of those for whom a client acts."""

    limit: Limit
    rate: RateLimit
    begun: hashlib.blake2b
    """The hash of a name, up to whose it is."""


class _Plan(NamedTuple):
    """The limits of a client's calls to a method."""

    client: RateLimit | None
    client_key: str
    of_actor: tuple[_ActorLimit, ...]


class CallLimits:
    """Limits calls by the table.

    The address, user and device are those that the request's `actor` names, where its client may
    speak for users; elsewhere they are not counted, for then admission refuses them, and nobody's
    limit can be used up by who may not name them. Where a request names no actor only the client's
    limit holds: the peer's own address is that of a service, and its identity is known better.
    """

    def __init__(
        self,
        table: Callable[[], LimitTable],
        limiter: Decider,
        secret: bytes,
        speaks_for_users: Callable[[str], bool],
    ) -> None:
        """`table` gives the limits of now, the same object while they do not change.

        `secret` keys the hashes under which users, devices and addresses are counted.
        `speaks_for_users` tells of a client; it may raise PaycoreError.
        """
        self._table = table
        self._limiter = limiter
        self._secret = hashlib.blake2b(secret, digest_size=32, person=b"paycore-limits").digest()
        self._speaks_for_users = speaks_for_users
        # As many of each as there are clients and methods: access is checked before.
        self._plans: dict[tuple[str, str], _Plan] = {}
        self._planned_by: LimitTable | None = None
        self._names_actor: dict[str, bool] = {}

    async def admit(self, client: str, method: Method, request: Any) -> None:
        """Take what the call costs from all its limits, or from none.

        Raises PaycoreError RATE_LIMITED. What items name as their own actors is charged by
        `exceeding`.
        """
        name = method.full_name
        plan = self._plan(client, name)
        cost = method.cost(request)
        charges: list[Charge] = []
        if plan.client is not None:
            charges.append(Charge(Limit.CLIENT, plan.client_key, plan.client, cost))
        names_actor = self._names_actor.get(name)
        if names_actor is None:
            names_actor = "actor" in method.request_class.DESCRIPTOR.fields_by_name
            self._names_actor[name] = names_actor
        if names_actor and request.HasField("actor") and self._speaks_for_users(client):
            charges += self._of_actor(plan, request.actor, cost)
        if charges:
            excess = await self._limiter.decide(charges)
            if excess is not None:
                raise _refusal(client, excess)

    async def exceeding(
        self, method: str, client: str, items: Sequence[Any]
    ) -> dict[int, PaycoreError]:
        """By place the refusals RATE_LIMITED of those of `items` whose actors exceed a limit.

        Items of one actor pass together or not at all; those of others are not concerned. `items`
        are messages that may have an `actor`.
        """
        places: dict[tuple[str, str, str], list[int]] = {}
        for place, item in enumerate(items):
            if item.HasField("actor"):
                actor = item.actor
                who = (actor.user_id, actor.device_id, actor.ip_address)
                places.setdefault(who, []).append(place)
        if not places or not self._speaks_for_users(client):
            return {}
        plan = self._plan(client, method)
        calls: list[list[Charge]] = []
        who_calls: list[list[int]] = []
        for own in places.values():
            charges = self._of_actor(plan, items[own[0]].actor, len(own))
            if charges:
                calls.append(charges)
                who_calls.append(own)
        found: dict[int, PaycoreError] = {}
        decisions = await self._limiter.decide_each(calls)
        for own, excess in zip(who_calls, decisions, strict=True):
            if excess is not None:
                found.update(dict.fromkeys(own, _refusal(client, excess)))
        return found

    def _plan(self, client: str, method: str) -> _Plan:
        table = self._table()
        if table is not self._planned_by:
            self._plans.clear()
            self._planned_by = table
        plan = self._plans.get((client, method))
        if plan is None:
            rates = table.rates(client, method)
            begun = {limit: self._begun(limit, one.method, client) for limit, one in rates.items()}
            own = rates.pop(Limit.CLIENT, None)
            plan = self._plans[client, method] = _Plan(
                None if own is None else own.rate,
                "" if own is None else _key(Limit.CLIENT, begun[Limit.CLIENT], b""),
                tuple(_ActorLimit(limit, one.rate, begun[limit]) for limit, one in rates.items()),
            )
        return plan

    def _of_actor(self, plan: _Plan, actor: Actor, cost: int) -> list[Charge]:
        charges: list[Charge] = []
        for limit, rate, begun in plan.of_actor:
            if limit is Limit.ADDRESS:
                name = _network(actor.ip_address)
            else:
                name = (actor.user_id if limit is Limit.USER else actor.device_id).encode()
            if name:
                charges.append(Charge(limit, _key(limit, begun, name), rate, cost))
        return charges

    def _begun(self, limit: Limit, method: str, client: str) -> hashlib.blake2b:
        # Neither methods nor names of clients have a NUL: what stands where is unambiguous.
        text = f"{limit.value}\0{method}\0{client}\0".encode()
        return hashlib.blake2b(text, digest_size=_KEY_BYTES, key=self._secret)


def _key(limit: Limit, begun: hashlib.blake2b, name: bytes) -> str:
    whole = begun.copy()
    whole.update(name)
    return f"limit:{limit}:{whole.hexdigest()}"


def _network(address: str) -> bytes:
    """What counts as one address; empty for what is none, which admission refuses."""
    found = packed(address)
    if found is None or len(found) == IPV4_BYTES:
        return found or b""
    if found.startswith(_IPV4_IN_IPV6):
        return found[len(_IPV4_IN_IPV6) :]
    return found[:IPV6_NETWORK_BYTES]


def _refusal(client: str, excess: Excess) -> PaycoreError:
    charge, rate = excess.charge, excess.charge.rate
    metadata = {"limit": charge.limit.value, "per_s": f"{rate.per_s:g}"}
    if charge.cost > rate.burst:
        # No waiting helps: the call must be made of less.
        metadata["burst"] = str(rate.burst)
    return PaycoreError(
        Reason.RATE_LIMITED,
        f"{client} exceeds {rate.per_s:g}/s by {charge.limit.value}",
        metadata,
        retry_after_ms=max(1, int(excess.wait_us / 1_000)),
    )
