"""Who is told of events, and what became of the telling."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from rich.table import Table

from operations.views.as_is import as_is
from paycore.client.webhook_model import Delivery, Subscription


def subscriptions_table(found: Sequence[Subscription]) -> Table:
    """One line a subscription."""
    table = Table("id", "client", "state", "events", "accounts", "url")
    table.columns[5].overflow = "fold"
    for one in found:
        table.add_row(
            str(one.id),
            as_is(one.client),
            one.state.value.lower(),
            as_is(", ".join(one.events)),
            ", ".join(map(str, one.accounts)) or "(all it may read)",
            as_is(one.url),
        )
    return table


def deliveries_table(found: Sequence[Delivery]) -> Table:
    """One line a delivery, with how its last attempts went."""
    table = Table("id", "event", "event id", "state", "attempts", "next")
    for one in found:
        last = [_answer(attempt.status, attempt.failure) for attempt in one.attempts]
        table.add_row(
            str(one.id),
            as_is(one.event),
            as_is(one.event_id),
            one.state.value.lower(),
            as_is(" ".join(islice(last, max(0, len(last) - 5), None)) or "-"),
            "-" if one.next_attempt_at is None else f"{one.next_attempt_at:%Y-%m-%d %H:%M:%S}",
        )
    return table


def _answer(status: int | None, failure: str | None) -> str:
    return str(status) if failure is None else failure
