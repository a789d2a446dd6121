"""TransferService: what follows a transfer. Captures, releases, refunds, reversals, reviews."""

from __future__ import annotations

from typing import Protocol

from command_service import anew
from command_service.admission.admission import Admission
from command_service.personal.posting import PersonalPosting
from command_service.posting.store import LedgerStore, UnreachableError
from command_service.servicers.child_requests import (
    ChildRequest,
    parse_approval,
    parse_capture,
    parse_refund,
    parse_release,
    parse_reversal,
    parse_rollback,
)
from command_service.servicers.transfer_replies import error_of, fill_transfer, position_of
from paycore.domain.errors import transfer_not_found
from paycore.domain.transfers import Posted
from paycore.runtime.server import Call
from paycore.v1 import transfer_pb2
from paycore.v1 import transfer_service_pb2 as pb2


class _Reply(Protocol):
    """What every reply to a single command has."""

    position: str
    replayed: bool

    @property
    def transfer(self) -> transfer_pb2.Transfer: ...


class ChildServicer:
    """Finds the transfer that is followed, and hands the command to the engine."""

    def __init__(
        self, engine: PersonalPosting, store: LedgerStore, admission: Admission, secret: bytes
    ) -> None:
        self._engine = engine
        self._store = store
        self._admission = admission
        self._secret = secret

    async def CaptureHold(  # noqa: N802  # named by the contract
        self, request: pb2.CaptureHoldRequest, call: Call
    ) -> pb2.CaptureHoldResponse:
        """Move held money to the payee of the hold."""
        reply = pb2.CaptureHoldResponse()
        await self._post(parse_capture(request, call.client, self._secret), call, reply)
        return reply

    async def ReleaseHold(  # noqa: N802  # named by the contract
        self, request: pb2.ReleaseHoldRequest, call: Call
    ) -> pb2.ReleaseHoldResponse:
        """Free what is still held."""
        reply = pb2.ReleaseHoldResponse()
        await self._post(parse_release(request, call.client, self._secret), call, reply)
        return reply

    async def RefundTransfer(  # noqa: N802  # named by the contract
        self, request: pb2.RefundTransferRequest, call: Call
    ) -> pb2.RefundTransferResponse:
        """Give all or a part of a payment back."""
        reply = pb2.RefundTransferResponse()
        await self._post(parse_refund(request, call.client, self._secret), call, reply)
        return reply

    async def ReverseTransfer(  # noqa: N802  # named by the contract
        self, request: pb2.ReverseTransferRequest, call: Call
    ) -> pb2.ReverseTransferResponse:
        """Undo a transfer by its opposite."""
        reply = pb2.ReverseTransferResponse()
        await self._post(parse_reversal(request, call.client, self._secret), call, reply)
        return reply

    async def ApproveReview(  # noqa: N802  # named by the contract
        self, request: pb2.ApproveReviewRequest, call: Call
    ) -> pb2.ApproveReviewResponse:
        """Let a payment go on that was held for review."""
        reply = pb2.ApproveReviewResponse()
        await self._post(parse_approval(request, call.client, self._secret), call, reply)
        return reply

    async def RefuseReview(  # noqa: N802  # named by the contract
        self, request: pb2.RefuseReviewRequest, call: Call
    ) -> pb2.RefuseReviewResponse:
        """Roll a payment back that was held for review."""
        reply = pb2.RefuseReviewResponse()
        await self._post(parse_rollback(request, call.client, self._secret), call, reply)
        return reply

    async def _post(self, request: ChildRequest, call: Call, reply: _Reply) -> None:
        self._admission.check_actor(call.client, named=request.names_actor)
        try:
            parents = await self._store.find_parents([request.parent])
        except UnreachableError as error:
            raise anew.database_unavailable() from error
        parent = parents.get(request.parent)
        if parent is None:
            raise transfer_not_found(request.parent)
        (outcome,) = await self._engine.submit((request.command(parent),), call.deadline_s)
        if not isinstance(outcome, Posted):
            raise error_of(outcome)
        reply.position = position_of(outcome)
        reply.replayed = outcome.replayed
        fill_transfer(reply.transfer, outcome)
