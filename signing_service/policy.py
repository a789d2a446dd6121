"""The rules of PINs: how often one may be guessed, and which ones are too easy to guess."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from paycore.domain.pin import Pin

MAX_FAILURES = 5
"""Consecutive failures before the lock (PSD2 RTS article 4(3)(b))."""


@dataclass(frozen=True, slots=True)
class AttemptRules:
    """Durations of the attempt rules, in microseconds."""

    first_lock_us: int = 30 * 60 * 1_000_000
    """Doubles with each further lock that no success has come between."""
    longest_lock_us: int = 30 * 24 * 60 * 60 * 1_000_000
    abandoned_after_us: int = 15 * 1_000_000
    """A reservation without a verdict counts as a failure after this long: its process is gone."""


class Counter(NamedTuple):
    """A user's attempts so far, as recorded under the lock of the user's row.

    `failures` counts all there ever were; the first `cleared` of them were settled by a success or
    by the lock that they led to. `lockouts` counts locks since the last success; a lock holds
    while the time is before `locked_until_us` (microseconds since 1970, 0 for never).
    """

    failures: int = 0
    cleared: int = 0
    lockouts: int = 0
    locked_until_us: int = 0

    @property
    def consecutive(self) -> int:
        """Failures that count towards the next lock."""
        return self.failures - self.cleared


class Admission(StrEnum):
    """What becomes of a proof that was not evaluated yet."""

    RESERVE = "RESERVE"
    WAIT = "WAIT"
    LOCKED = "LOCKED"


def admit(counter: Counter, pending: int, now_us: int) -> Admission:
    """Whether one more attempt may begin while `pending` others have no verdict yet.

    Each pending attempt may still fail, so one that goes beyond what would then be left waits.
    """
    if now_us < counter.locked_until_us:
        return Admission.LOCKED
    if counter.consecutive + pending >= MAX_FAILURES:
        return Admission.WAIT
    return Admission.RESERVE


def attempts_left(counter: Counter, now_us: int) -> int:
    """Failures that the user still has before the next lock; none while locked."""
    if now_us < counter.locked_until_us:
        return 0
    return MAX_FAILURES - counter.consecutive


def after_failures(counter: Counter, count: int, now_us: int, rules: AttemptRules) -> Counter:
    """`counter` after `count` more failures, locked if they were the last ones allowed."""
    failures = counter.failures + count
    if failures - counter.cleared < MAX_FAILURES:
        return counter._replace(failures=failures)
    return Counter(
        failures=failures,
        cleared=failures,
        lockouts=counter.lockouts + 1,
        locked_until_us=now_us + lock_us(counter.lockouts, rules),
    )


def after_success(counter: Counter, failures_before: int) -> Counter:
    """`counter` after a success that was reserved when there were `failures_before` failures.

    Failures recorded since then stay: they may be another's guesses.
    """
    return counter._replace(cleared=max(counter.cleared, failures_before), lockouts=0)


def lock_us(earlier_lockouts: int, rules: AttemptRules) -> int:
    """How long a lock lasts after `earlier_lockouts` others, in microseconds."""
    # Beyond this shift any first lock has passed the longest one.
    doublings = min(earlier_lockouts, 40)
    return min(rules.first_lock_us << doublings, rules.longest_lock_us)


class Weakness(StrEnum):
    """Why a PIN is too easy to guess."""

    SEQUENCE = "SEQUENCE"
    """Equal steps from digit to digit: 1111, 1234, 9876, 2468, 7890."""
    REPETITION = "REPETITION"
    """One block of digits over and over: 1212, 123123."""
    COMMON = "COMMON"
    """Among those that people choose most."""


COMMON_PINS = frozenset(
    {
        "0007", "0070", "0852", "1004", "1122", "1123", "1221", "1233", "1236", "1243", "1245",
        "1324", "1342", "1432", "1478", "1944", "1945", "1969", "1984", "1985", "1986", "1987",
        "1988", "1989", "1990", "1991", "1992", "1999", "2000", "2001", "2002", "2005", "2010",
        "2112", "2233", "2580", "3214", "4200", "4711", "5150", "5683", "7410", "8520", "8675",
        "02580", "12344", "12369", "15963", "25800", "52013", "54320", "74123", "96321",
        "100200", "102030", "112211", "112233", "121314", "123321", "123654", "123789", "134679",
        "142536", "147258", "147852", "147896", "159357", "159753", "159951", "246810", "321654",
        "332211", "445566", "456123", "456852", "520131", "753951", "789456", "789654", "852456",
        "963852", "987456",
        "1234321", "1478963", "7894561", "8675309",
        "11223344", "12344321", "12345679", "14725836", "14789632", "78945612",
        "112233445", "123456788", "147258369", "789456123", "963852741",
        "1122334455", "1234554321", "1234567891",
        "123456654321", "147258369147",
    }
)  # fmt: skip
"""The head of published counts of leaked PINs and numeric passwords, and walks over the keypad."""


def weakness(pin: Pin) -> Weakness | None:
    """Why `pin` is too easy to guess, or None when it is not."""
    digits = pin.reveal()
    steps = {(int(after) - int(before)) % 10 for before, after in pairwise(digits)}
    if len(steps) == 1:
        return Weakness.SEQUENCE
    if digits in (digits + digits)[1:-1]:
        return Weakness.REPETITION
    if digits in COMMON_PINS:
        return Weakness.COMMON
    return None
