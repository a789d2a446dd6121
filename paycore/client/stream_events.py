"""What the stream tells of one transfer or stored decline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from paycore.client.stream_errors import StreamUnreadableError
from paycore.domain.stream import EntryId
from paycore.domain.transfers import TransferKind, TransferState


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """A transfer as it was posted, or a decline (state FAILED). Nothing of it ever changes.

    Amounts are in minor units. What does not apply is None, or empty.
    """

    entry: str
    """The id of its entry in the stream: to acknowledge it, and to go on after it."""
    previous: str
    """The id of the event before it in the ledger, whether or not the stream still has that."""
    state: TransferState
    id: int
    kind: TransferKind
    currency: str
    amount: int
    debit_account: int
    credit_account: int
    debit_version: int | None
    """Of the payer's account after it: an account's order is that of its versions."""
    credit_version: int | None
    debit_institution: str
    credit_institution: str
    parent_id: int | None
    parent_state: TransferState | None
    """The state in which it put its parent."""
    released: int | None
    """What a capture that ended its hold set free beside what it moved."""
    group_id: int | None
    reason: str
    """Why it was declined."""
    created_at_us: int
    position: str
    """Where it stands, for reads that are to see it."""

    @property
    def declined(self) -> bool:
        return self.state is TransferState.FAILED


def read_event(entry: str, fields: Mapping[str, str]) -> StreamEvent:
    """The event in `fields` of the entry `entry`. Raises StreamUnreadableError."""
    try:
        EntryId.parse(entry)
        state = fields["parent_state"]
        return StreamEvent(
            entry=entry,
            previous=str(EntryId.parse(fields["previous"])),
            state=TransferState(fields["state"]),
            id=int(fields["id"]),
            kind=TransferKind(fields["kind"]),
            currency=fields["currency"],
            amount=int(fields["amount"]),
            debit_account=int(fields["debit_account"]),
            credit_account=int(fields["credit_account"]),
            debit_version=_number(fields["debit_version"]),
            credit_version=_number(fields["credit_version"]),
            debit_institution=fields["debit_institution"],
            credit_institution=fields["credit_institution"],
            parent_id=_number(fields["parent_id"]),
            parent_state=TransferState(state) if state else None,
            released=_number(fields["released"]),
            group_id=_number(fields["group_id"]),
            reason=fields["reason"],
            created_at_us=int(fields["created_at_us"]),
            position=fields["position"],
        )
    except (KeyError, ValueError) as error:
        raise StreamUnreadableError(f"entry {entry} is none that this version can read") from error


def _number(text: str) -> int | None:
    return int(text) if text else None
