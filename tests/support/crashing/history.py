"""What clients asked and what they were told: all that a client can know, as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum


class Verdict(StrEnum):
    """What one attempt brought."""

    POSTED = "POSTED"
    DECLINED = "DECLINED"
    """A decline that is stored: the same key has it for ever."""
    REFUSED = "REFUSED"
    """This attempt wrote nothing."""
    UNHEARD = "UNHEARD"
    """Nobody told what became of it."""
    NOT_FOUND = "NOT_FOUND"
    """Only of a look-up: the key has no outcome."""


@dataclass(frozen=True, slots=True)
class Leg:
    """A movement that was asked for. Amounts are minor units; None and 0 where the service is to
    find out: of what follows a parent."""

    kind: str
    debit: int = 0
    credit: int = 0
    amount: int | None = None
    currency: str = "EUR"


@dataclass(frozen=True, slots=True)
class Told:
    """A transfer as a reply shows it, in what never changes."""

    id: int
    kind: str
    debit: int
    credit: int
    amount: int
    currency: str
    client: str
    reference: str
    debit_version: int
    credit_version: int
    debit_balance: int | None
    credit_balance: int | None
    held: int | None
    created_at_us: int
    parent: int
    parent_sequence: int
    parent_remaining: int | None
    parent_state: str
    released: int | None
    group: int
    step_up: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What one attempt brought, and when it began and ended, in seconds of one monotonic clock."""

    began_s: float
    ended_s: float
    verdict: Verdict
    transfers: tuple[Told, ...] = ()
    decline: int = 0
    reason: str = ""
    replayed: bool = False
    body: bytes = b""
    """Every field but `replayed`."""
    position: str = ""
    """Where a read must have come to, to show it."""


@dataclass(slots=True)
class Operation:
    """One command under one key, however often it was sent."""

    client: str
    key: str
    command: str
    legs: tuple[Leg, ...]
    parent: int = 0
    replies: list[Reply] = field(default_factory=list)
    looked_up: Reply | None = None
    """What the key had when all was calm."""

    @property
    def posted(self) -> Reply | None:
        """The first reply that told of transfers."""
        return self._first(Verdict.POSTED)

    @property
    def declined(self) -> Reply | None:
        """The first reply that told of a stored decline."""
        return self._first(Verdict.DECLINED)

    @property
    def answer(self) -> Reply | None:
        """What the key stands for, as far as its client knows."""
        return self.posted or self.declined

    @property
    def unheard(self) -> bool:
        """Whether nobody told what became of it: it may have been done, once."""
        return self.answer is None and (
            not self.replies or any(reply.verdict is Verdict.UNHEARD for reply in self.replies)
        )

    @property
    def began_s(self) -> float:
        """When it was first sent; never, where its sending left no mark."""
        return min((reply.began_s for reply in self.replies), default=float("-inf"))

    def _first(self, verdict: Verdict) -> Reply | None:
        return next((reply for reply in self.replies if reply.verdict is verdict), None)


class History:
    """All operations of all clients, in the order in which they began."""

    def __init__(self, operations: Iterable[Operation] = ()) -> None:
        self.operations = list(operations)
        self.acknowledged = 0
        """Transfers that clients were told of, each once."""
        self.newest: Reply | None = None
        """The last reply that told a client of transfers it had not been told of."""

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def begin(self, operation: Operation) -> Operation:
        """Note `operation` before anything of it is sent."""
        self.operations.append(operation)
        return operation

    def note(self, operation: Operation, reply: Reply) -> None:
        """Note what an attempt of `operation` brought."""
        if reply.verdict is Verdict.POSTED:
            first = operation.posted
            if first is None:
                self.acknowledged += len(reply.transfers)
                self.newest = reply
            elif (first.body, first.transfers) == (reply.body, reply.transfers):
                # What is equal is kept once: a long run has hundreds of thousands.
                reply = replace(reply, body=first.body, transfers=first.transfers)
        operation.replies.append(reply)
