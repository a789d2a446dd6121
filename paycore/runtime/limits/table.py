"""Which limits hold for whom: defaults, over them the file's, and over those the database's.

In one place the later source overrides the earlier; for a call the nearest place holds of which
anything is said: its client's for its method, its client's, everybody's. A limit set for a method
counts that method's calls apart from the client's others, and holds for them instead of the
client's. Limits by address, user and device are each client's own: what one client's users do takes
nothing from those of another. Velocity counts over all methods.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Self

from paycore.domain.limits import (
    RATES,
    Limit,
    Place,
    RateLimit,
    Setting,
    Source,
    VelocityLimit,
)
from paycore.runtime.limits.file import read_settings

DEFAULTS: Mapping[Limit, Setting] = {
    Limit.CLIENT: RateLimit(100_000, 200_000),
    Limit.ADDRESS: RateLimit(100, 2_000),
    Limit.USER: RateLimit(10, 1_000),
    Limit.DEVICE: RateLimit(10, 1_000),
    Limit.VELOCITY: VelocityLimit(3_600, 100, 20),
}
"""An address is shared by many (carriers, offices); a burst lets the largest group through."""

CONFIGURED_ONLY = "paycore.v1.PolicyService"
"""Whose calls count apart, and by nothing that the database says: else a limit that was set too low
would keep out whoever could take it back."""


class Said(NamedTuple):
    """What a limit is set to, and who says so."""

    setting: Setting
    source: Source
    revision: int = 0
    """Of what the database says; else 0."""


class Scoped(NamedTuple):
    """A rate, and which calls count together: of one method or service, or all (empty)."""

    rate: RateLimit
    method: str


def everywhere(settings: Mapping[Limit, Setting]) -> dict[Place, Setting]:
    """`settings` of every client of whom nothing else is said."""
    return {Place("", "", limit): setting for limit, setting in settings.items()}


@dataclass(frozen=True, slots=True)
class LimitTable:
    """The limits of every client."""

    configured: Mapping[Place, Said] = field(default_factory=lambda: _said(everywhere(DEFAULTS)))
    """What defaults and the file say."""
    changed: Mapping[Place, Said] = field(default_factory=dict)
    """What the database says."""

    @classmethod
    def of_client_rate(cls, rate: RateLimit) -> Self:
        """The defaults with another rate of clients."""
        return cls(_said(everywhere({**DEFAULTS, Limit.CLIENT: rate})))

    def read(self, path: Path | None, clients: Collection[str], methods: Collection[str]) -> Self:
        """This table with what the TOML file at `path` says; without a path as it is.

        Raises as `read_settings`.
        """
        if path is None:
            return self
        return self.with_file(read_settings(path, clients, methods))

    def with_file(self, settings: Mapping[Place, Setting]) -> Self:
        """This table with what a file says."""
        return replace(self, configured={**self.configured, **_said(settings, Source.FILE)})

    def with_changes(self, changed: Mapping[Place, Said]) -> Self:
        """This table with nothing but `changed` of the database."""
        return replace(self, changed=changed)

    def said(self) -> dict[Place, Said]:
        """All that is said, by place."""
        return {**self.configured, **self.changed}

    def in_force(self, place: Place) -> tuple[Place, Said] | None:
        """What holds in `place`, and the place for which it is said."""
        for near in place.nearest_first():
            said = self.changed.get(near) or self.configured.get(near)
            if said is not None:
                return near, said
        return None

    def rates(self, client: str, method: str) -> dict[Limit, Scoped]:
        """The limits of `client`'s calls to `method`."""
        service, _, _ = method.partition("/")
        if service == CONFIGURED_ONLY:
            alone = replace(self, changed={})
            return {
                limit: Scoped(one.rate, service) for limit, one in alone._rates(client, "").items()
            }
        return self._rates(client, method)

    def _rates(self, client: str, method: str) -> dict[Limit, Scoped]:
        found: dict[Limit, Scoped] = {}
        for limit in RATES:
            in_force = self.in_force(Place(client, method, limit))
            if in_force is not None and isinstance(in_force[1].setting, RateLimit):
                found[limit] = Scoped(in_force[1].setting, in_force[0].method)
        return found

    def velocity(self, client: str) -> VelocityLimit | None:
        """What devices of `client` may touch."""
        in_force = self.in_force(Place(client, "", Limit.VELOCITY))
        if in_force is None or not isinstance(in_force[1].setting, VelocityLimit):
            return None
        return in_force[1].setting

    def longest_window_s(self) -> int:
        """The longest window of any velocity, in seconds; 0 where there is none."""
        settings = (said.setting for said in self.said().values())
        return max((one.window_s for one in settings if isinstance(one, VelocityLimit)), default=0)


def _said(settings: Mapping[Place, Setting], source: Source = Source.DEFAULT) -> dict[Place, Said]:
    return {place: Said(setting, source) for place, setting in settings.items()}
