"""How much each measurement does."""

from __future__ import annotations

from dataclasses import dataclass

BATCH = 500
"""Transfers in one bulk call and in one raw batch."""

BULK_CALLERS = 4
LAG_RATE_PER_S = 5_000
CALLERS = (1, 16, 64)
ECHO_PROCESSES = (1, 2)
HOT_ACCOUNTS = 8
STREAMS = 8
STREAM_MESSAGE = 50
"""Transfers in one message of a stream."""
STREAM_WINDOW = 500
"""Transfers of one stream without an outcome."""
PAYROLL = 1_000
LIGHT_RATE_PER_S = 50
STEP_UP_PAYERS = 128
DEVICE_CALLERS = 64
PIN_CALLERS = 32
LAYERED_CALLERS = 64
WATCHERS = 1_000
WATCH_RATE_PER_S = 500


@dataclass(frozen=True, slots=True)
class Sizes:
    """Counts of transfers or calls unless a unit is named; per repetition."""

    repetitions: int
    accounts: int
    raw: int
    bulk: int
    unary: dict[int, int]
    """Calls by number of callers."""
    echo: dict[int, int]
    hot: int
    lag_s: int
    catching_up: int
    history: int
    """Transfers in the ledger and the index when pages are read; once, not per repetition."""
    pages_s: float
    watch_s: float
    stream: int
    groups: int
    light: int
    """Calls of the light client, alone and again beside the flood."""
    by_device: int
    by_pin: int
    hashes: int
    """Of argon2id alone."""
    layered: int
    memory: int
    """Transfers while memory is watched; once, not per repetition."""
    profile_bulk: int
    profile_unary: int


FULL = Sizes(
    repetitions=3,
    accounts=10_000,
    raw=60_000,
    bulk=60_000,
    unary={1: 1_500, 16: 10_000, 64: 16_000},
    echo={1: 4_000, 16: 20_000, 64: 20_000},
    hot=12_000,
    lag_s=15,
    catching_up=60_000,
    history=500_000,
    pages_s=5.0,
    watch_s=5.0,
    stream=60_000,
    groups=100,
    light=500,
    by_device=8_000,
    by_pin=600,
    hashes=600,
    layered=12_000,
    memory=1_000_000,
    profile_bulk=60_000,
    profile_unary=12_000,
)

QUICK = Sizes(
    repetitions=1,
    accounts=4_000,
    raw=30_000,
    bulk=30_000,
    unary={1: 600, 16: 3_000, 64: 5_000},
    echo={1: 1_500, 16: 6_000, 64: 6_000},
    hot=4_000,
    lag_s=5,
    catching_up=30_000,
    history=100_000,
    pages_s=2.0,
    watch_s=2.0,
    stream=30_000,
    groups=20,
    light=250,
    by_device=2_000,
    by_pin=200,
    hashes=200,
    layered=4_000,
    memory=100_000,
    profile_bulk=20_000,
    profile_unary=4_000,
)
