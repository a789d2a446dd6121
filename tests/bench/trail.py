"""What a refused call costs the process that notes it, and a window what it seals: CPU time.

`make trail-bench`. No store takes part: nothing of this waits for one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.sealed import SubjectKey
from paycore.runtime.clock import SystemClock
from paycore.runtime.security_events import MOST_KINDS, ROWS_AT_ONCE, Row, SecurityEvents
from paycore.runtime.traces import Bound, Person, Tracer
from paycore.v1 import actor_pb2

CALLS = 50_000
ROUNDS = 5
METHOD = "paycore.v1.TransferService/SubmitTransfer"
DENIED = PaycoreError(Reason.NOT_PERMITTED, "no", {"grant": "REVERSE"})
LIMITED = PaycoreError(Reason.RATE_LIMITED, "no", {"limit": "device"})
OTHER = PaycoreError(Reason.INSUFFICIENT_FUNDS, "no")


class Nowhere:
    """Keeps nothing."""

    async def write(self, rows: Sequence[Row]) -> None:
        """Nothing is written."""

    async def close(self) -> None:
        """Nothing was opened."""


class Kept:
    """A process that has every key already."""

    async def of_subjects(
        self, subjects: Sequence[str], within_s: float
    ) -> Mapping[str, SubjectKey | PaycoreError]:
        """A key for each."""
        return {subject: SubjectKey(at, bytes(32)) for at, subject in enumerate(subjects, 1)}


def refusing(error: PaycoreError, actors: Sequence[actor_pb2.Actor | None]) -> float:
    """Microseconds of CPU for one of CALLS refusals, the best of ROUNDS."""

    def run() -> None:
        events = SecurityEvents(Nowhere(), SystemClock(), 3_600.0)
        for number in range(CALLS):
            actor = actors[number % len(actors)]
            events.refused(error, "app", METHOD, "ipv4:10.0.0.1:1", "r", actor)

    return best(run) / CALLS


def sealing(subjects: int) -> float:
    """Microseconds of CPU for each row of a statement that is sealed for so many subjects."""
    acted = "clerk" if subjects > 1 else "user"
    persons = [
        (
            Person(f"{acted}-{n}", f"phone-{n}", "192.0.2.1"),
            Bound(n, "STEP_UP_REFUSED", "app", f"user-{n}"),
        )
        for n in range(ROWS_AT_ONCE)
    ]
    tracer = Tracer(bytes(32), Kept())
    return best(lambda: asyncio.run(_traced(tracer, persons))) / ROWS_AT_ONCE


async def _traced(tracer: Tracer, persons: Sequence[tuple[Person | None, Bound]]) -> None:
    await tracer.traces(persons)


def best(run: Callable[[], None]) -> float:
    """Microseconds of CPU that `run` takes when it is least disturbed."""
    taken = []
    for _ in range(ROUNDS):
        began_s = time.process_time()
        run()
        taken.append(time.process_time() - began_s)
    return min(taken) * 1_000_000


def main() -> None:
    """Print a line for each figure."""
    persons = [
        actor_pb2.Actor(user_id=f"u-{n}", device_id=f"d-{n}", ip_address="192.0.2.1")
        for n in range(25 * MOST_KINDS)
    ]
    for what, figure in (
        ("refusal that is no event", refusing(OTHER, [None])),
        ("denied call", refusing(DENIED, [None])),
        ("denied call that names somebody", refusing(DENIED, persons[:1])),
        ("limit of one device", refusing(LIMITED, persons[:1])),
        ("limits of 5,000 devices, 200 kept", refusing(LIMITED, persons)),
        ("row sealed, one subject", sealing(1)),
        ("row sealed, two subjects", sealing(2)),
    ):
        print(f"{what:<40} {figure:6.1f} us")


if __name__ == "__main__":
    main()
