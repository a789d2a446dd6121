"""The configurations of this folder, and how what they say of a stack gets its ids.

Data names what only a stack knows by a text in angle brackets, such as `<payer>`: `Things` has the
values. ghz's own templates (`{{newUUID}}`) stay; ghz fills them in, call by call.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
ECHO = "echo"
"""Of the benchmark's own server, which no stack runs."""

ONCE = frozenset({"new account", "new hold", "new payment", "review"})
"""Things of which each is good for one call."""

TURNS = 100
"""Requests that ghz sends in turn, where accounts take turns."""

NEVER_ENDING = frozenset({"paycore.v1.HistoryService/WatchTransfers"})
"""Streams that ghz ends, after some messages, and then counts as Canceled."""

_NAMED = re.compile(r"<([a-z ]+)>")


@dataclass(frozen=True, slots=True)
class Configuration:
    """One file: what ghz is told."""

    name: str
    """Of the file, without `.json`."""
    values: Mapping[str, Any]

    @property
    def method(self) -> str:
        """`package.Service/Method`."""
        return str(self.values["call"])

    @property
    def server(self) -> str:
        """The service that is called: command or query."""
        return str(self.values["cname"]).removesuffix(".paycore")

    @property
    def success(self) -> str:
        """The status, as ghz names it, of a call that went as it should."""
        return "Canceled" if self.method in NEVER_ENDING else "OK"

    @property
    def total(self) -> int:
        """Calls of a whole run."""
        return int(self.values["total"])

    @property
    def named(self) -> frozenset[str]:
        """What its data needs of a stack."""
        return frozenset(_NAMED.findall(json.dumps(self.values["data"])))

    def requests(self, things: Mapping[str, Iterator[str]], total: int) -> Any:
        """The data for `total` calls: as in the file, or requests that ghz sends in turn.

        Raises KeyError where `things` lack what is named, StopIteration where there are too few.
        """
        data = self.values["data"]
        if isinstance(data, list) or not self.named:
            return _filled(data, things)
        turns = total if self.named & ONCE else min(total, TURNS)
        return [_filled(data, things) for _ in range(turns)]


def configurations() -> list[Configuration]:
    """All but that of the benchmark's echo, by service and method."""
    found = [
        Configuration(path.stem, json.loads(path.read_text()))
        for path in FOLDER.glob("*.json")
        if path.stem != ECHO
    ]
    return sorted(found, key=lambda one: one.method)


def in_turn(values: list[str]) -> Iterator[str]:
    """`values` over and over."""
    return itertools.cycle(values)


def _filled(data: Any, things: Mapping[str, Iterator[str]]) -> Any:
    match data:
        case dict():
            return {name: _filled(value, things) for name, value in data.items()}
        case list():
            return [_filled(value, things) for value in data]
        case str() if (named := _NAMED.fullmatch(data)) is not None:
            return next(things[named[1]])
        case _:
            return data
