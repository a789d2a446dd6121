"""What requests may take up in a process before anything is known of them but their bytes."""

from __future__ import annotations

from google.protobuf.message import DecodeError, Message

from paycore.domain.errors import PaycoreError, Reason, invalid_field

MOST_FIELDS = 2_000
"""Fields of a request, items of lists counted one by one: twice what any list may hold.

An empty item is two bytes on the wire and a hundred times that in memory; so many of them as fit
into a message would hold up all other callers while they are decoded.
"""

SMALL_BYTES = 4_096
"""Requests below this are not counted: how many of them may wait is bounded elsewhere."""

MOST_BYTES = 256 * 1024 * 1024
MOST_BYTES_OF_CLIENT = 64 * 1024 * 1024
"""Of larger requests that are not answered yet, in all and of one client."""

RETRY_AFTER_MS = 250


class Intake:
    """Counts the bytes of requests until they are answered."""

    def __init__(
        self, most_bytes: int = MOST_BYTES, most_bytes_of_client: int = MOST_BYTES_OF_CLIENT
    ) -> None:
        self._most_bytes = most_bytes
        self._most_bytes_of_client = most_bytes_of_client
        self._bytes = 0
        self._by_client: dict[str, int] = {}

    def take(self, client: str, raw: bytes) -> int:
        """What `raw` counts, to be given to `leave`; 0 for a small one. Raises PaycoreError
        OVERLOADED."""
        size = len(raw)
        if size < SMALL_BYTES:
            return 0
        of_client = self._by_client.get(client, 0) + size
        if of_client > self._most_bytes_of_client or self._bytes + size > self._most_bytes:
            raise PaycoreError(
                Reason.OVERLOADED,
                "too many bytes of requests wait for their answers",
                {"limit_bytes": str(min(self._most_bytes, self._most_bytes_of_client))},
                retry_after_ms=RETRY_AFTER_MS,
            )
        self._bytes += size
        self._by_client[client] = of_client
        return size

    def leave(self, client: str, size: int) -> None:
        """A request of `client` that counted `size` bytes is answered."""
        self._bytes -= size
        left = self._by_client[client] - size
        if left:
            self._by_client[client] = left
        else:
            del self._by_client[client]


def decoded(request_class: type[Message], raw: bytes) -> Message:
    """The request that `raw` is. Raises PaycoreError INVALID_FIELD where it is none, or has more
    than MOST_FIELDS fields."""
    # A field takes two bytes at least.
    if len(raw) > 2 * MOST_FIELDS and _has_more_fields(raw, MOST_FIELDS):
        raise invalid_field("", f"at most {MOST_FIELDS} fields, items of lists among them")
    try:
        return request_class.FromString(raw)
    except DecodeError as error:
        raise invalid_field("", f"not a {request_class.DESCRIPTOR.name}") from error


def _has_more_fields(raw: bytes, most: int) -> bool:
    """Whether more than `most` fields stand at the top of an encoded message.

    What is no message is left to the decoder.
    """
    at, end = 0, len(raw)
    try:
        for _ in range(most):
            if at >= end:
                return False
            key, at = _varint(raw, at)
            wire_type = key & 7
            if wire_type == _LENGTH_DELIMITED:
                size, at = _varint(raw, at)
                at += size
            elif wire_type == _VARINT:
                _, at = _varint(raw, at)
            elif wire_type in _FIXED:
                at += _FIXED[wire_type]
    except (IndexError, ValueError):
        return False
    return at < end


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """The number that begins at `at`, and where it ends.

    Raises ValueError for one of more bytes than a number has: read to its end, it would take time
    with the square of its length. Raises IndexError where `raw` ends within it.
    """
    if raw[at] < 0x80:
        # As almost all are; a large request has thousands.
        return raw[at], at + 1
    value = 0
    for shift in range(0, 7 * _VARINT_BYTES, 7):
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a varint without an end")


_VARINT, _LENGTH_DELIMITED = 0, 2
_FIXED = {1: 8, 5: 4}
_VARINT_BYTES = 10
