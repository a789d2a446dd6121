"""Asks a risk service outside, over gRPC. What it says is believed only when it is well-formed."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from command_service.admission.risk.port import Ending, NoAnswerError, Question, is_rule
from paycore.domain.transfers import RiskDecision, RiskVerdict
from paycore.risk.v1 import risk_service_pb2 as pb2
from paycore.risk.v1 import risk_service_pb2_grpc as pb2_grpc
from paycore.runtime.clock import Clock
from paycore.v1 import actor_pb2, money_pb2, transfer_pb2

_DECISIONS: Mapping[int, RiskDecision] = {
    pb2.RISK_VERDICT_APPROVE: RiskDecision.APPROVE,
    pb2.RISK_VERDICT_DECLINE: RiskDecision.DECLINE,
    pb2.RISK_VERDICT_REVIEW: RiskDecision.REVIEW,
}


class RemoteAssessor:
    """RiskAssessor on paycore.risk.v1.RiskService, asked once: it is the caller who retries."""

    def __init__(self, channel: grpc.aio.Channel, clock: Clock) -> None:
        self._stub = pb2_grpc.RiskServiceStub(channel)
        self._clock = clock

    async def assess(self, question: Question, deadline_s: float) -> RiskVerdict:
        timeout_s = deadline_s - self._clock.monotonic_s()
        if timeout_s <= 0:
            raise NoAnswerError("DEADLINE")
        try:
            reply = await self._stub.AssessTransfer(
                _request(question, self._clock.now_us()), timeout=timeout_s
            )
        except grpc.aio.AioRpcError as error:
            late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            raise NoAnswerError("DEADLINE" if late else error.code().name) from error
        decision = _DECISIONS.get(reply.verdict)
        if decision is None:
            raise NoAnswerError("UNKNOWN_VERDICT")
        if decision is RiskDecision.APPROVE:
            return RiskVerdict(decision)
        if not is_rule(reply.rule):
            raise NoAnswerError("NO_RULE")
        return RiskVerdict(decision, reply.rule)

    def ended(self, tickets: Collection[int], ending: Ending) -> None:
        """Nothing: what the service outside remembers is its own matter; it gives no tickets."""


def _request(question: Question, now_us: int) -> pb2.AssessTransferRequest:
    command = question.command
    request_time = Timestamp()
    request_time.FromMicroseconds(now_us)
    details = command.details
    actor = None
    if details is not None and (details.user_id or details.device_id or details.ip_address):
        actor = actor_pb2.Actor(
            user_id=details.user_id, device_id=details.device_id, ip_address=details.ip_address
        )
    return pb2.AssessTransferRequest(
        client=command.client,
        idempotency_key=command.key,
        kind=transfer_pb2.TransferKind.Value(f"TRANSFER_KIND_{command.kind}"),
        debit_account_id=command.debit_account,
        credit_account_id=command.credit_account,
        amount=money_pb2.Money(minor_units=command.amount, currency=command.currency),
        reference=command.reference or "",
        actor=actor,
        request_time=request_time,
    )
