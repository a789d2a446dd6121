"""The TOML file of limits.

[default.device]                  # of every client of whom nothing else is said
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
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from paycore.domain.limits import (
    RATES,
    Limit,
    Place,
    RateLimit,
    Setting,
    VelocityLimit,
    rate_faults,
    velocity_faults,
)

_RATE = ("per_s", "burst")


def read_settings(
    path: Path, clients: Collection[str], methods: Collection[str]
) -> dict[Place, Setting]:
    """What the file at `path` says, by place.

    `clients` and `methods` (`package.Service/Method`) are those that there are. Raises ValueError
    that names the entry which is not as the module says.
    """
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    try:
        _check_names("", document, ("default", "clients"))
        named = _table("clients", document.get("clients", {}))
        _check_names("clients.", named, clients)
        found = dict(_of_all("default", document.get("default", {}), "", ()))
        for name, entry in named.items():
            found.update(_of_client(f"clients.{name}", entry, name, methods))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return found


def _of_client(
    path: str, value: Any, client: str, methods: Collection[str]
) -> Iterator[tuple[Place, Setting]]:
    yield from _of_all(path, value, client, ("methods",))
    named = _table(f"{path}.methods", value.get("methods", {}))
    _check_names(f"{path}.methods.", named, methods)
    for method, limits in named.items():
        place = f"{path}.methods.{method}"
        _check_names(f"{place}.", _table(place, limits), RATES)
        for limit in RATES:
            if limit in limits:
                yield Place(client, method, limit), _setting(f"{place}.{limit}", limit, limits)


def _of_all(
    path: str, value: Any, client: str, extra: Collection[str]
) -> Iterator[tuple[Place, Setting]]:
    table = _table(path, value)
    _check_names(f"{path}.", table, (*Limit, *extra))
    for limit in Limit:
        if limit in table:
            yield Place(client, "", limit), _setting(f"{path}.{limit}", limit, table)


def _setting(path: str, limit: Limit, limits: Mapping[str, Any]) -> Setting:
    value = limits[limit]
    if value is False:
        return None
    table = _table(path, value)
    if limit is Limit.VELOCITY:
        _check_figures(path, table, VelocityLimit._fields, velocity_faults)
        return VelocityLimit(**table)
    _check_figures(path, table, _RATE, rate_faults)
    return RateLimit(float(table["per_s"]), table["burst"])


def _check_figures(
    path: str,
    table: Mapping[str, Any],
    fields: Collection[str],
    faults: Callable[..., Mapping[str, str]],
) -> None:
    _check_names(f"{path}.", table, fields)
    for name in fields:
        if name not in table:
            raise ValueError(f"{path}.{name} is missing")
    for name, wanted in faults(**table).items():
        raise ValueError(f"{path}.{name} is {wanted}, not {table[name]!r}")


def _table(path: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{path} is a table (or false, for no limit), not {value!r}")
    return value


def _check_names(path: str, table: Mapping[str, Any], known: Collection[str]) -> None:
    for name in table:
        if name not in known:
            raise ValueError(f"{path}{name} is not known")
