"""How fresh an answer of the index is."""

from __future__ import annotations

from dataclasses import replace

from query_service.positions import PositionTracker
from query_service.readers.port import Freshness, ReadTerms

SOURCE = "elasticsearch"


async def reached(positions: PositionTracker, terms: ReadTerms) -> Freshness:
    """Wait for the position that `terms` ask for; what is searchable then is in any later answer.

    Raises PaycoreError as `PositionTracker.reach` and `check_current` do.
    """
    freshness = await told(positions, terms)
    positions.check_current(terms.tolerance_s)
    return freshness


async def told(positions: PositionTracker, terms: ReadTerms) -> Freshness:
    """As `reached`, however far behind the index is."""
    if terms.min_position is not None:
        await positions.reach(terms.min_position, terms.deadline_s, terms.patience_s)
    seen = positions.seen
    return Freshness(SOURCE, None if seen is None else seen.position, positions.lag_us())


def begun(freshness: Freshness, positions: PositionTracker) -> Freshness:
    """Of an answer that was just read, and lacks whatever retention has dropped."""
    return replace(freshness, complete_from_us=positions.seen_from_us)
