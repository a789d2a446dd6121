"""What is shown to Prometheus of the lease under which ids are issued."""

from __future__ import annotations

from enum import StrEnum
from math import nan

from paycore.runtime.metric_definitions import SECONDS, counter, gauge, of

INSTANCE = gauge(
    "paycore_id_lease_instance",
    "The instance number under which this process issues ids; NaN where it has none.",
    unit="number",
)
REMAINING = gauge(
    "paycore_id_lease_remaining_seconds",
    "For how long ids can be issued without another renewal; 0 when none can, which refuses every"
    " payment of this process. NaN where it issues none.",
    unit=SECONDS,
)
# Until there is a source: whoever only asks when an id was made has none, and that is no alarm.
INSTANCE.set(nan)
REMAINING.set(nan)


class Unrenewed(StrEnum):
    """Why a lease was not renewed."""

    UNREACHABLE = "unreachable"
    """The database gave no connection, or no answer in time."""
    REFUSED = "refused"
    """The database, or that all numbers are leased."""
    LOST = "lost"
    """Another process has the number."""
    FAULT = "fault"
    """A defect."""


FAILED = counter(
    "paycore_id_lease_renewals_failed_total",
    "Renewals of the id lease that failed, by cause.",
    unit="renewals",
    labels={"cause": of(Unrenewed)},
)
