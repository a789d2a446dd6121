"""Who is told of an event. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from paycore.domain.grants import GrantAction, Grants
from paycore.domain.webhooks import ALL_EVENTS, EventType
from projector.batch import Row
from projector.webhooks.events import Event


class Subscription(NamedTuple):
    """Who wants to be told, and of what."""

    id: int
    client: str
    events: frozenset[str]
    accounts: frozenset[int]
    """Empty for all that the client may read."""
    after: tuple[int, int]
    """Transaction and journal row after which events are told."""

    @classmethod
    def of(cls, row: Row) -> Subscription:
        """From a row of enabled_subscriptions."""
        after = (row["from_xid"], row["from_journal_id"])
        return cls(
            row["id"], row["client"], frozenset(row["events"]), frozenset(row["accounts"]), after
        )


class Subscriptions:
    """Those that are enabled, by the type of event that they want."""

    def __init__(self, subscriptions: Iterable[Subscription]) -> None:
        self._wanting: dict[str, list[Subscription]] = defaultdict(list)
        self.clients: set[str] = set()
        """Whose grants decide."""
        for one in subscriptions:
            self.clients.add(one.client)
            wanted = EventType if ALL_EVENTS in one.events else one.events
            for event_type in wanted:
                self._wanting[str(event_type)].append(one)

    def wanting(self, event: Event) -> Iterator[Subscription]:
        """Those that want to be told of `event`, whether or not they may be."""
        for one in self._wanting.get(event.type.value, ()):
            if one.after >= (event.xid, event.journal_id):
                continue
            if not one.accounts or one.accounts.intersection(event.sides):
                yield one


def may_be_told(
    one: Subscription, event: Event, grants: Grants, accounts: Mapping[int, Row]
) -> bool:
    """Whether its client may read one of the accounts of `event` that it asks for.

    An account that is not there, as one of a declined payment may not be, nobody may read.
    """
    reach = grants.reach(one.client, GrantAction.READ.value)
    return any(
        reach.covers(one.client, account["opened_by"], account["institution"])
        for side in event.sides
        if (not one.accounts or side in one.accounts)
        and (account := accounts.get(side)) is not None
    )
