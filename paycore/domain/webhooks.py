"""Webhooks: the events that there are, and what a subscription may ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from paycore.domain.transfers import TransferKind, TransferState

ALL_EVENTS = "*"

MAX_URL = 2_048
MAX_EVENTS = 32
MAX_ACCOUNTS = 100
MAX_DESCRIPTION = 256
MAX_ENABLED = 100
"""Enabled subscriptions of one client."""
MAX_SIGNING = 4
"""Secrets of one subscription that sign at the same time."""
MAX_OVERLAP_S = 7 * 86_400
DEFAULT_OVERLAP_S = 86_400
MAX_REPLAYED = 1_000
"""Dead deliveries that one request replays."""

LOWEST_FREE_PORT = 1_024
_PORTS = {"https": 443, "http": 80}


class EventType(StrEnum):
    """What subscribers are told of; which entry of the journal is which is in `event_type_of`."""

    TRANSFER_POSTED = "transfer.posted"
    TRANSFER_HELD = "transfer.held"
    TRANSFER_CAPTURED = "transfer.captured"
    TRANSFER_RELEASED = "transfer.released"
    TRANSFER_EXPIRED = "transfer.expired"
    TRANSFER_ROLLED_BACK = "transfer.rolled_back"
    TRANSFER_REFUNDED = "transfer.refunded"
    TRANSFER_REVERSED = "transfer.reversed"
    TRANSFER_DECLINED = "transfer.declined"
    ACCOUNT_OPENED = "account.opened"
    ACCOUNT_CHANGED = "account.changed"


class SubscriptionState(StrEnum):
    """Whether a subscription is told of events."""

    ENABLED = "ENABLED"
    DISABLED = "DISABLED"
    GONE = "GONE"
    """Disabled because its endpoint answered 410."""


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    DEAD = "DEAD"


_BY_KIND: Mapping[TransferKind, EventType] = {
    TransferKind.TRANSFER: EventType.TRANSFER_POSTED,
    TransferKind.DEPOSIT: EventType.TRANSFER_POSTED,
    TransferKind.WITHDRAWAL: EventType.TRANSFER_POSTED,
    TransferKind.FEE: EventType.TRANSFER_POSTED,
    TransferKind.NET_SETTLEMENT: EventType.TRANSFER_POSTED,
    TransferKind.HOLD: EventType.TRANSFER_HELD,
    TransferKind.CAPTURE: EventType.TRANSFER_CAPTURED,
    TransferKind.RELEASE: EventType.TRANSFER_RELEASED,
    TransferKind.REFUND: EventType.TRANSFER_REFUNDED,
    TransferKind.REVERSAL: EventType.TRANSFER_REVERSED,
}
_BY_END_OF_HOLD: Mapping[TransferState, EventType] = {
    TransferState.EXPIRED: EventType.TRANSFER_EXPIRED,
    TransferState.ROLLED_BACK: EventType.TRANSFER_ROLLED_BACK,
}
"""Of a RELEASE, by the state in which it leaves its hold, where that is not just released."""


def event_type_of(kind: TransferKind, parent_state: TransferState | None) -> EventType:
    """The event that a posted transfer is; `parent_state` is what it makes of what it follows."""
    if kind is TransferKind.RELEASE and parent_state is not None:
        return _BY_END_OF_HOLD.get(parent_state, EventType.TRANSFER_RELEASED)
    return _BY_KIND[kind]


def event_id(journal_id: int, place: int) -> str:
    """The id of an event: the same however often it is sent, and to whom."""
    return f"{journal_id}-{place}"


def parse_event_id(text: str) -> tuple[int, int] | None:
    """Journal row and place in an event's id; None where it is none."""
    journal_id, dash, place = text.partition("-")
    if not (dash and _is_number(journal_id, 19) and _is_number(place, 9)):
        return None
    return int(journal_id), int(place)


def _is_number(text: str, digits: int) -> bool:
    return 0 < len(text) <= digits and text.isascii() and text.isdigit()


def events_fault(events: Sequence[str]) -> str | None:
    """What is wrong with the events that a subscription asks for."""
    if list(events) == [ALL_EVENTS]:
        return None
    known = [event.value for event in EventType]
    if (
        not 1 <= len(events) <= MAX_EVENTS
        or len(set(events)) < len(events)
        or not set(events) <= set(known)
    ):
        return f"different ones of {', '.join(known)}, or {ALL_EVENTS} alone"
    return None


def url_fault(url: str, *, http: bool) -> str | None:
    """What is wrong with the address of an endpoint, in words; `http` tells that it may be plain.

    Where a name leads is looked at when something is sent there.
    """
    if not 0 < len(url) <= MAX_URL:
        return f"1 to {MAX_URL} characters"
    if not (url.isascii() and url.isprintable()) or set(url) & {" ", "\\"}:
        return "printable ASCII characters without spaces and backslashes"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "a URL"
    schemes = ("https", "http") if http else ("https",)
    if parts.scheme not in schemes:
        return f"a URL that begins with {' or '.join(f'{one}://' for one in schemes)}"
    if not host:
        return "a URL with a host"
    if "@" in parts.netloc:
        return "a URL without user and password"
    if "#" in url:
        return "a URL without a fragment"
    if port is not None and port != _PORTS[parts.scheme] and port < LOWEST_FREE_PORT:
        return f"a port that is {_PORTS[parts.scheme]} or at least {LOWEST_FREE_PORT}"
    return _host_fault(host, parts)


def _host_fault(host: str, parts: SplitResult) -> str | None:
    if "[" in parts.netloc or host.replace(".", "").isdigit():
        try:
            ip_address(host)
        except ValueError:
            return "a host that is a name, or an address as it is commonly written"
        return None
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(map(_is_label, labels)):
        return "a host that is a name of DNS"
    return None


def _is_label(label: str) -> bool:
    return 0 < len(label) <= 63 and all(char.isalnum() or char in "-_" for char in label)


def key_subject(subscription: int) -> str:
    """The subject under whose data key the secrets of a subscription are sealed."""
    return f"webhook:{subscription}"
