"""Calls that hold, follow and group, and the requests that they must become."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from paycore.client import Actor, HoldOrder, Money, Note, TransferKind, TransferOrder
from paycore.v1 import actor_pb2, money_pb2, transfer_pb2
from paycore.v1 import transfer_service_pb2 as pb2
from tests.integration.client.samples import POSITION, transfer

WHEN = datetime(2026, 12, 1, 10, 0, 0, 5, UTC)
ACTOR = Actor("ada", "phone", "192.0.2.1")
NOTE = Note("ref", "text", {"k": "v"}, ACTOR)
MONEY = Money(250, "EUR")
SENT_ACTOR = actor_pb2.Actor(user_id="ada", device_id="phone", ip_address="192.0.2.1")
SENT_MONEY = money_pb2.Money(minor_units=250, currency="EUR")


def _when() -> Timestamp:
    moment = Timestamp()
    moment.FromDatetime(WHEN)
    return moment


HOLD = HoldOrder(
    11, 12, MONEY, WHEN, "ref", "text", {"k": "v"}, ACTOR, WHEN, 7, idempotency_key="key"
)

CALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any], Message]] = {
    "hold_funds": (
        (HOLD,),
        {},
        pb2.HoldFundsRequest(
            idempotency_key="key",
            debit_account_id=11,
            credit_account_id=12,
            amount=SENT_MONEY,
            expire_time=_when(),
            reference="ref",
            description="text",
            metadata={"k": "v"},
            actor=SENT_ACTOR,
            effective_time=_when(),
            expected_debit_version=7,
        ),
    ),
    "capture_hold": (
        (81, MONEY),
        {"final": False, "note": NOTE},
        pb2.CaptureHoldRequest(
            idempotency_key="key",
            hold_id=81,
            amount=SENT_MONEY,
            final=False,
            reference="ref",
            description="text",
            metadata={"k": "v"},
            actor=SENT_ACTOR,
        ),
    ),
    "release_hold": (
        (81,),
        {"note": Note("ref", "text", actor=ACTOR)},
        pb2.ReleaseHoldRequest(
            idempotency_key="key",
            hold_id=81,
            reference="ref",
            description="text",
            actor=SENT_ACTOR,
        ),
    ),
    "refund_transfer": (
        (91, MONEY),
        {"note": NOTE},
        pb2.RefundTransferRequest(
            idempotency_key="key",
            transfer_id=91,
            amount=SENT_MONEY,
            reference="ref",
            description="text",
            metadata={"k": "v"},
            actor=SENT_ACTOR,
        ),
    ),
    "reverse_transfer": (
        (91, "twice"),
        {"reference": "ref", "actor": ACTOR},
        pb2.ReverseTransferRequest(
            idempotency_key="key",
            transfer_id=91,
            reason="twice",
            reference="ref",
            actor=SENT_ACTOR,
        ),
    ),
    "approve_review": (
        (81, "called back"),
        {"actor": ACTOR},
        pb2.ApproveReviewRequest(
            idempotency_key="key", transfer_id=81, reason="called back", actor=SENT_ACTOR
        ),
    ),
    "refuse_review": (
        (81, "not who it says"),
        {},
        pb2.RefuseReviewRequest(idempotency_key="key", transfer_id=81, reason="not who it says"),
    ),
}
"""Arguments, keywords beside the key, and what is sent. A hold's key is in its order."""

GROUP = [
    TransferOrder(11, 12, MONEY, reference="ref", expected_debit_version=3),
    TransferOrder(12, 13, MONEY, TransferKind.FEE, description="text", metadata={"k": "v"}),
]
SENT_GROUP = pb2.SubmitTransferGroupRequest(
    idempotency_key="key",
    transfers=[
        pb2.GroupedTransfer(
            kind=transfer_pb2.TRANSFER_KIND_TRANSFER,
            debit_account_id=11,
            credit_account_id=12,
            amount=SENT_MONEY,
            reference="ref",
            expected_debit_version=3,
        ),
        pb2.GroupedTransfer(
            kind=transfer_pb2.TRANSFER_KIND_FEE,
            debit_account_id=12,
            credit_account_id=13,
            amount=SENT_MONEY,
            description="text",
            metadata={"k": "v"},
        ),
    ],
    actor=SENT_ACTOR,
)


def keywords(name: str) -> dict[str, Any]:
    """Those of the call `name`, with its key."""
    given = CALLS[name][1]
    return given if name == "hold_funds" else {**given, "idempotency_key": "key"}


def reply_to(name: str) -> Any:
    """A reply to the call `name`, replayed."""
    reply = getattr(pb2, type(CALLS[name][2]).__name__.replace("Request", "Response"))
    return reply(transfer=transfer(99), position=POSITION, replayed=True)


def group_reply(count: int = 2) -> pb2.SubmitTransferGroupResponse:
    """A reply to the group."""
    return pb2.SubmitTransferGroupResponse(
        group_id=70, transfers=[transfer(99 + at) for at in range(count)], position=POSITION
    )
