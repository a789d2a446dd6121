"""Which limits hold for whom: defaults, and what a TOML file says of clients and their methods.

    [default.device]                  # of every client for whom nothing else is said
    per_s = 5                         # units a second, more than 0
    burst = 50                        # units at once, at least 1

    [default.velocity]                # what one device may touch within a time
    window_s = 3600
    payees = 20
    identifiers = 5

    [clients.payroll]
    user = false                      # no such limit
    velocity = false

    [clients.app.methods."paycore.v1.TransferService/SubmitTransfer".device]
    per_s = 1
    burst = 10

A limit set for a method counts that method's calls apart from the client's others, and holds for
them instead of the client's. Limits by address, user and device are each client's own: what one
client's users do takes nothing from those of another. Velocity counts over all methods.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

from paycore.runtime.limits.rate import RATES, Limit, RateLimit

LONGEST_S = 86_400
"""Bound on burst / per_s and on windows, in seconds: state is kept for as long."""

MOST_DISTINCT = 1_000
"""Bound on payees and identifiers: as many rows are kept for each device."""


class VelocityLimit(NamedTuple):
    """How many different ones a device may touch within a time."""

    window_s: int
    payees: int
    identifiers: int


class Scoped(NamedTuple):
    """A rate, and which calls count together: of one method, or all (empty)."""

    rate: RateLimit
    method: str


_Rates = Mapping[Limit, RateLimit | None]

DEFAULTS: _Rates = {
    Limit.CLIENT: RateLimit(100_000, 200_000),
    Limit.ADDRESS: RateLimit(100, 2_000),
    Limit.USER: RateLimit(10, 1_000),
    Limit.DEVICE: RateLimit(10, 1_000),
}
"""An address is shared by many (carriers, offices); a burst lets the largest group through."""

DEFAULT_VELOCITY = VelocityLimit(3_600, 100, 20)


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """What is said of one client. A missing limit is the default's, None is no limit."""

    rates: _Rates = field(default_factory=dict)
    velocity: tuple[VelocityLimit | None] | None = None
    """In a tuple, so that nothing said differs from no limit."""
    methods: Mapping[str, _Rates] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LimitTable:
    """The limits of every client."""

    default: _Rates = field(default_factory=lambda: DEFAULTS)
    default_velocity: VelocityLimit | None = DEFAULT_VELOCITY
    clients: Mapping[str, ClientLimits] = field(default_factory=dict)

    @classmethod
    def of_client_rate(cls, rate: RateLimit) -> Self:
        """The defaults with another rate of clients."""
        return cls({**DEFAULTS, Limit.CLIENT: rate})

    def read(self, path: Path | None, clients: Collection[str], methods: Collection[str]) -> Self:
        """This table with what the TOML file at `path` changes; without a path as it is.

        `clients` and `methods` (`package.Service/Method`) are those that there are. Raises
        ValueError that names the entry which is not as the module says.
        """
        if path is None:
            return self
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        try:
            _check_names("", document, ("default", "clients"))
            default = _entry("default", document.get("default", {}), (), with_methods=False)
            named = _table("clients", document.get("clients", {}))
            _check_names("clients.", named, clients)
            entries = {
                name: _entry(f"clients.{name}", entry, methods, with_methods=True)
                for name, entry in named.items()
            }
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        velocity = self.default_velocity if default.velocity is None else default.velocity[0]
        return replace(
            self,
            default={**self.default, **default.rates},
            default_velocity=velocity,
            clients=entries,
        )

    def rates(self, client: str, method: str) -> dict[Limit, Scoped]:
        """The limits of `client`'s calls to `method`."""
        entry = self.clients.get(client, ClientLimits())
        own = entry.methods.get(method, {})
        everywhere = {**self.default, **entry.rates}
        found: dict[Limit, Scoped] = {}
        for limit in RATES:
            rate = own[limit] if limit in own else everywhere.get(limit)
            if rate is not None:
                found[limit] = Scoped(rate, method if limit in own else "")
        return found

    def velocity(self, client: str) -> VelocityLimit | None:
        """What devices of `client` may touch."""
        said = self.clients.get(client, ClientLimits()).velocity
        return self.default_velocity if said is None else said[0]

    def longest_window_s(self) -> int:
        """The longest window of any velocity, in seconds; 0 where there is none."""
        said = [entry.velocity[0] for entry in self.clients.values() if entry.velocity]
        return max((one.window_s for one in (self.default_velocity, *said) if one), default=0)


def _entry(path: str, value: Any, methods: Collection[str], *, with_methods: bool) -> ClientLimits:
    table = _table(path, value)
    extra = ("velocity", "methods") if with_methods else ("velocity",)
    _check_names(f"{path}.", table, (*RATES, *extra))
    velocity = None
    if "velocity" in table:
        velocity = (_velocity(f"{path}.velocity", table["velocity"]),)
    by_method: dict[str, _Rates] = {}
    named = _table(f"{path}.methods", table.get("methods", {}))
    _check_names(f"{path}.methods.", named, methods)
    for method, limits in named.items():
        place = f"{path}.methods.{method}"
        _check_names(f"{place}.", _table(place, limits), RATES)
        by_method[method] = _rates(place, limits)
    return ClientLimits(_rates(path, table), velocity, by_method)


def _rates(path: str, table: Mapping[str, Any]) -> _Rates:
    return {limit: _rate(f"{path}.{limit}", table[limit]) for limit in RATES if limit in table}


def _rate(path: str, value: Any) -> RateLimit | None:
    if value is False:
        return None
    table = _table(path, value)
    _check_names(f"{path}.", table, ("per_s", "burst"), complete=True)
    per_s, burst = table["per_s"], table["burst"]
    if isinstance(per_s, bool) or not isinstance(per_s, int | float) or not 0 < per_s < 1e9:
        raise ValueError(f"{path}.per_s is a number above 0 and below 1e9, not {per_s!r}")
    _check_whole(f"{path}.burst", burst, 1_000_000_000)
    if burst / per_s > LONGEST_S:
        raise ValueError(f"{path} lets a burst through once in more than {LONGEST_S} s")
    return RateLimit(float(per_s), burst)


def _velocity(path: str, value: Any) -> VelocityLimit | None:
    if value is False:
        return None
    table = _table(path, value)
    _check_names(f"{path}.", table, VelocityLimit._fields, complete=True)
    _check_whole(f"{path}.window_s", table["window_s"], LONGEST_S)
    _check_whole(f"{path}.payees", table["payees"], MOST_DISTINCT)
    _check_whole(f"{path}.identifiers", table["identifiers"], MOST_DISTINCT)
    return VelocityLimit(**table)


def _check_whole(path: str, value: Any, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ValueError(f"{path} is a whole number from 1 to {most}, not {value!r}")


def _table(path: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{path} is a table (or false, for no limit), not {value!r}")
    return value


def _check_names(
    path: str, table: Mapping[str, Any], known: Collection[str], *, complete: bool = False
) -> None:
    for name in table:
        if name not in known:
            raise ValueError(f"{path}{name} is not known")
    for name in known if complete else ():
        if name not in table:
            raise ValueError(f"{path}{name} is missing")
