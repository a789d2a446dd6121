"""What is wrong with a seal, and with journal rows that differ from it. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

from operations.verify.digests import Digested
from operations.verify.report import Figures
from paycore.domain.chain import DIGEST_BYTES, Seal, seal_hash

CHANGED = "its content is not what its hash says"

_HEAD = re.compile(r"([0-9a-f]{64}):([1-9][0-9]{0,17})")


class Head(NamedTuple):
    """A seal by its hash and number, written HASH:NUMBER."""

    hash: bytes
    number: int

    def __str__(self) -> str:
        return f"{self.hash.hex()}:{self.number}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError when it is none."""
        found = _HEAD.fullmatch(text.strip())
        if found is None:
            raise ValueError("not HASH:NUMBER, as a verification of the chain prints it")
        return cls(bytes.fromhex(found[1]), int(found[2]))


@dataclass(slots=True)
class Faults:
    """How much was examined, how much was wrong, and the first of it."""

    examined: int = 0
    violations: int = 0
    first: Figures | None = None

    def add(self, figures: Figures, violations: int = 1) -> None:
        """Count something wrong."""
        self.violations += violations
        if self.first is None:
            self.first = figures


def seal_faults(
    seal: Seal, expected: int, previous: bytes, last: Seal | None, epoch: int
) -> str | None:
    """What is wrong with `seal`, if anything, which is to be number `expected` after `previous`."""
    if seal.number != expected:
        return f"it is not the next: seal {expected} is missing"
    if len(seal.digests) != DIGEST_BYTES * seal.journal_rows:
        return "it has not a digest for each of its rows"
    if seal_hash(seal) != seal.hash:
        return CHANGED
    if seal.previous != previous:
        return "it names another seal before it"
    if seal.last < seal.first or (last is not None and seal.first <= last.last):
        return "its rows do not follow on those of the seal before"
    if seal.epoch > epoch or (last is not None and seal.epoch < last.epoch):
        return "its epoch is not one that the ledger can have been in"
    return None


def compare_rows(seal: Seal, rows: Sequence[Digested], faults: Faults) -> None:
    """Note what of `rows`, which stand in the journal where `seal` has its own, differs from it."""
    sealed = [
        seal.digests[start : start + DIGEST_BYTES]
        for start in range(0, len(seal.digests), DIGEST_BYTES)
    ]
    ends = [row.place for row in (*rows[:1], *rows[-1:])]
    if [row.digest for row in rows] == sealed and ends == [seal.first, seal.last]:
        return
    of = {"seal": seal.number}
    known = Counter(sealed)
    strange = []
    for row in rows:
        if known[row.digest]:
            known[row.digest] -= 1
        else:
            strange.append(row)
    missing = known.total()
    if strange:
        first = strange[0]
        fault = "it was not sealed" if len(rows) > len(sealed) else "it is not as it was sealed"
        if first.lacks:
            fault = f"it names {first.lacks}, which is gone"
        faults.add({**of, **first.figures, "fault": fault}, max(len(strange), missing))
    elif missing:
        place = next((at for at, row in enumerate(rows) if row.digest != sealed[at]), len(rows))
        behind = rows[place - 1].journal_id if place else None
        faults.add(
            {**of, "row": place + 1, "after_journal_id": behind, "fault": "it is missing"}, missing
        )
    else:
        faults.add({**of, "fault": "its rows are not where it says"})
