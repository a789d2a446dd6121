"""What reading the stream of events can raise."""

from __future__ import annotations

from collections.abc import Sequence

from paycore.client.errors import ClientError


class StreamError(ClientError):
    """The base of these."""


class StreamUnreachableError(StreamError):
    """Redis does not answer, or refuses for now: try again."""


class StreamRefusedError(StreamError):
    """Redis refuses this user, or what was asked."""


class StreamUnknownError(StreamError):
    """There is no stream (yet): nothing was projected since Redis was emptied."""


class StreamGroupUnknownError(StreamError):
    """There is no such group of consumers: make it where the last event was handled."""


class StreamReplacedError(StreamError):
    """The ledger was restored: what is streamed now is another history. Resync, and open anew."""

    def __init__(self, epoch: int, now: int) -> None:
        super().__init__(f"the stream of epoch {epoch} is over: the ledger is in epoch {now}")
        self.epoch = epoch
        self.now = now


class StreamTrimmedError(StreamError):
    """Events were trimmed before they were handled: their effect must be read from the ledger.

    It is raised again until the group is moved past them (`TransferStream.skip_lost`).
    """

    def __init__(self, after: str, resumes_after: str, lost: Sequence[str] = ()) -> None:
        """`lost` are entries that were delivered and not acknowledged, where it is those."""
        gone = f"{len(lost)} that were pending" if lost else f"all from {after} to {resumes_after}"
        super().__init__(f"events were trimmed before they were handled: {gone}")
        self.after = after
        """The last event before the gap that was delivered."""
        self.resumes_after = resumes_after
        """The last event that is lost: the stream has what comes after it."""
        self.lost = tuple(lost)


class StreamUnreadableError(StreamError):
    """An entry that this version of the client cannot read."""
