"""The chain of seals, followed in one snapshot and held against the tables that it seals."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

import database
from operations.errors import UsageError
from operations.verify.chain_rules import CHANGED, Faults, Head, compare_rows, seal_faults
from operations.verify.digests import Digested, digest_rows
from operations.verify.readers import CONNECT_TIMEOUT_S, Progress, no_progress
from operations.verify.report import Check
from paycore.domain.chain import BEGINNING, Seal, seal_hash

SEALS_AT_ONCE = 500
ROWS_AT_ONCE = 2_000
"""Journal rows whose transfers are hashed together, at most."""

RULES: Mapping[str, tuple[str, str]] = {
    "seals": ("each seal has the hash of its content and of the seal before it", "seals"),
    "sealed": ("journal rows and what they wrote are as they were sealed", "journal rows"),
    "named": ("transfers and declines are those that the journal names", "transfers and declines"),
    "head": ("the chain has the seal that was noted outside", "seals"),
}


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What following the chain came to."""

    checks: tuple[Check, ...]
    head: Head | None
    """The end of the chain: note it where nobody who can write to the database can."""
    epoch: int
    """The epoch of the ledger."""
    segments: tuple[tuple[int, int], ...]
    """Epoch, and the first seal that was made in it, of those looked at."""
    unsealed_rows: int
    """Journal rows behind the chain's end."""
    unsealed_since_us: int | None

    @property
    def held(self) -> bool:
        """Whether no check found anything."""
        return all(check.held for check in self.checks)

    def check(self, rule: str) -> Check:
        """The check of a rule of RULES. Raises KeyError when it was not made."""
        for check in self.checks:
            if check.rule == RULES[rule][0]:
                return check
        raise KeyError(rule)


async def verify_chain(
    dsn: str,
    *,
    start: int = 1,
    head: Head | None = None,
    progress: Progress = no_progress,
) -> ChainReport:
    """Follow the chain from seal number `start` on; `dsn` is that of role paycore_audit.

    What is before `start` is taken as it is, with the hash of the seal before. Raises UsageError
    for a start that there cannot be, and what asyncpg raises when the server cannot be reached.
    """
    if start < 1:
        raise UsageError("seals are numbered from 1")
    connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await database.load("verify").prepare(connection)
            return await _Walk(connection, progress).follow(start, head)
    finally:
        await connection.close()


class _Walk:
    def __init__(self, connection: asyncpg.Connection, progress: Progress) -> None:
        self._connection = connection
        self._progress = progress
        self._queries: Any = database.load("chain")
        self._projector: Any = database.load("projector")
        self._seals = Faults()
        self._rows = Faults()
        self._segments: list[tuple[int, int]] = []
        self._epoch = 0

    async def follow(self, start: int, noted: Head | None) -> ChainReport:
        self._epoch = await self._projector.read_epoch(self._connection)
        end = _seal(await self._queries.last_seal(self._connection))
        last = await self._before(start)
        total = max(0, (end.number if end else 0) - start + 1)
        done = 0
        self._progress(done, total)
        async for seals in self._pages(start):
            after = last.last if last else (0, 0)
            for seal in seals:
                self._look_at(seal, last, start)
                last = seal
            await self._compare(after, seals)
            done += len(seals)
            self._progress(done, total)
        await self._look_at_checkpoint(end)
        checks = [
            self._check("seals", self._seals),
            self._check("sealed", self._rows),
            await self._named(),
        ]
        if noted is not None:
            checks.append(await self._noted(noted, end))
        after = end.last if end else (0, 0)
        unsealed = await self._queries.unsealed(
            self._connection, last_xid=after[0], last_id=after[1]
        )
        return ChainReport(
            tuple(checks),
            None if end is None else Head(end.hash, end.number),
            self._epoch,
            tuple(self._segments),
            unsealed["journal_rows"],
            unsealed["since_us"],
        )

    async def _before(self, start: int) -> Seal | None:
        if start == 1:
            return None
        seal = _seal(await self._queries.find_seal(self._connection, number=start - 1))
        if seal is None:
            self._seals.add({"seal": start - 1, "fault": "it is missing"})
        elif seal_hash(seal) != seal.hash:
            # Where its rows end is where those that are looked at begin.
            self._seals.add({"seal": seal.number, "fault": CHANGED})
        return seal

    async def _pages(self, start: int) -> AsyncGenerator[Sequence[Seal], None]:
        """Seals from `start` on, so many that their rows can be looked at together."""
        waiting: list[Seal] = []
        weight = 0
        number = start - 1
        while rows := await self._queries.next_seals(
            self._connection, after_number=number, most=SEALS_AT_ONCE
        ):
            number = rows[-1]["number"]
            for row in rows:
                seal = Seal(**row)
                waiting.append(seal)
                weight += seal.journal_rows
                if weight >= ROWS_AT_ONCE:
                    yield waiting
                    waiting, weight = [], 0
        if waiting:
            yield waiting

    def _look_at(self, seal: Seal, last: Seal | None, start: int) -> None:
        self._seals.examined += 1
        expected = start if last is None else last.number + 1
        previous = BEGINNING if last is None else last.hash
        if last is None and start > 1:
            # The one before is missing, which was said.
            previous = seal.previous
        fault = seal_faults(seal, expected, previous, last, self._epoch)
        if fault:
            self._seals.add({"seal": seal.number, "fault": fault})
        if not self._segments or self._segments[-1][0] != seal.epoch:
            self._segments.append((seal.epoch, seal.number))

    async def _compare(self, after: tuple[int, int], seals: Sequence[Seal]) -> None:
        """Hold the journal from `after` up to the last of `seals` against them."""
        reading = self._journal(after, max(seal.last for seal in seals))
        row = await anext(reading, None)
        for seal in seals:
            rows: list[Digested] = []
            while row is not None and row.place <= seal.last:
                rows.append(row)
                row = await anext(reading, None)
            self._rows.examined += len(rows)
            compare_rows(seal, rows, self._rows)
        # Only where seals are out of order.
        while row is not None:
            self._rows.examined += 1
            self._rows.add({**row.figures, "fault": "it was not sealed"})
            row = await anext(reading, None)

    async def _journal(
        self, after: tuple[int, int], last: tuple[int, int]
    ) -> AsyncGenerator[Digested, None]:
        while rows := await self._queries.journal_until(
            self._connection,
            after_xid=after[0],
            after_id=after[1],
            last_xid=last[0],
            last_id=last[1],
            most=ROWS_AT_ONCE,
        ):
            for row in await digest_rows(self._connection, self._queries, rows):
                yield row
            after = rows[-1]["xid"], rows[-1]["id"]

    async def _look_at_checkpoint(self, end: Seal | None) -> None:
        """A seal and the projector's checkpoint are one transaction: none can be ahead."""
        row = await self._projector.load_checkpoint(self._connection, sink="seal")
        if row is None or row["epoch"] != self._epoch:
            return
        sealed = (row["xid"], row["journal_id"])
        if sealed > (end.last if end else (0, 0)):
            self._seals.add(
                {
                    "seal": end.number + 1 if end else 1,
                    "fault": "it is missing: more was sealed",
                    "sealed_xid": sealed[0],
                    "sealed_id": sealed[1],
                }
            )

    async def _named(self) -> Check:
        """Those that are named were found while the rows were looked at; here, that no others are
        there."""
        faults = Faults()
        row = await self._queries.count_named(self._connection)
        faults.examined = row["transfers"] + row["declines"]
        for table in ("transfers", "declines"):
            there, named = row[table], int(row[f"{table}_named"])
            if there > named:
                first = await self._queries.first_unnamed(self._connection)
                names = dict(first) if first else {"table": table}
                faults.add({**names, "fault": "the journal does not name it"}, there - named)
            elif there < named:
                figures = {"table": table, "there": there, "named": named}
                faults.add({**figures, "fault": "the journal names more"}, named - there)
        return self._check("named", faults)

    async def _noted(self, noted: Head, end: Seal | None) -> Check:
        faults = Faults(examined=1)
        found = await self._queries.find_seal(self._connection, number=noted.number)
        last = end.number if end else 0
        if found is None:
            fault = f"it is gone: the chain ends with seal {last}"
        elif found["hash"] != noted.hash:
            fault = f"it has another hash: {found['hash'].hex()}"
        else:
            return self._check("head", faults)
        faults.add({"seal": noted.number, "fault": fault, "epoch": self._epoch})
        return self._check("head", faults)

    def _check(self, rule: str, faults: Faults) -> Check:
        text, unit = RULES[rule]
        return Check(text, faults.examined, unit, faults.violations, faults.first)


def _seal(row: Any) -> Seal | None:
    return None if row is None else Seal(**row)
