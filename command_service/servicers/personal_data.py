"""PersonalDataService: erases subjects for whoever is granted to."""

from __future__ import annotations

from collections.abc import Callable

from command_service.admission.admission import Admission
from command_service.personal.erasure import Erasure
from command_service.servicers.fields import MAX_REASON, Fields
from command_service.servicers.transfer_replies import timestamp
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.grants import GrantAction
from paycore.domain.rules import Rules
from paycore.domain.subjects import MAX_SUBJECT
from paycore.domain.transfers import Details
from paycore.runtime.server import Call
from paycore.v1 import personal_data_service_pb2 as pb2


class PersonalDataServicer:
    """Translates, and checks the grant."""

    def __init__(self, erasure: Erasure, admission: Admission, rules: Callable[[], Rules]) -> None:
        self._erasure = erasure
        self._admission = admission
        self._rules = rules

    async def EraseSubject(  # noqa: N802  # named by the contract
        self, request: pb2.EraseSubjectRequest, call: Call
    ) -> pb2.EraseSubjectResponse:
        """Erase one subject, whoever has its data."""
        named = request.HasField("actor")
        self._admission.check_actor(call.client, named=named)
        fields = Fields()
        fields.text("subject", request.subject, MAX_SUBJECT, required=True)
        fields.text("reason", request.reason, MAX_REASON, required=True)
        if named:
            fields.actor(request.actor)
        fields.check()
        # Its data lies with any client and institution: a part of the accounts is not enough.
        if not self._rules().grants.everywhere(call.client, GrantAction.ERASE):
            raise PaycoreError(
                Reason.NOT_PERMITTED,
                f"{call.client} may not erase subjects",
                {"grant": GrantAction.ERASE},
            )
        actor = request.actor
        erased = await self._erasure.erase(
            call.client,
            request.subject,
            request.reason,
            Details(actor.user_id, actor.device_id, actor.ip_address),
            call.deadline_s,
        )
        return pb2.EraseSubjectResponse(
            erase_time=timestamp(erased.erased_at_us),
            destroyed_keys=erased.destroyed_keys,
            cleared_accounts=erased.cleared_accounts,
            position="" if erased.position is None else erased.position.encode(),
        )
