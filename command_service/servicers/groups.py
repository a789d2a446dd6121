"""TransferService: groups of transfers, all or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from command_service.admission.admission import Admission
from command_service.admission.proof import Proof
from command_service.personal.posting import PersonalPosting
from command_service.refusals import Refusals
from command_service.servicers.fields import MAX_BATCH, Fields
from command_service.servicers.stretches import AT_A_STRETCH, Stretches
from command_service.servicers.transfer_replies import error_of, fill_transfer, position_of
from command_service.servicers.transfer_requests import parse_grouped, read_proof
from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Violation, invalid_field, invalid_fields
from paycore.domain.idempotency import command_hash, details_hash
from paycore.domain.transfers import Details, GroupCommand, GroupPosted, TransferCommand
from paycore.runtime.account_names import SIDES
from paycore.runtime.identifiers import Identifiers
from paycore.runtime.server import Call
from paycore.v1 import actor_pb2
from paycore.v1 import transfer_service_pb2 as pb2

METHOD = "paycore.v1.TransferService/SubmitTransferGroup"

MAX_STEP_UPS = 16
"""Payers of one group who may approve: each costs the signing service a look at all of it."""


class GroupServicer:
    """Translates, has the items checked, and hands the group to the engine."""

    def __init__(
        self,
        engine: PersonalPosting,
        admission: Admission,
        identifiers: Identifiers,
        secret: bytes,
        stretches: Stretches,
        refusals: Refusals | None = None,
    ) -> None:
        self._refusals = refusals
        self._engine = engine
        self._identifiers = identifiers
        self._admission = admission
        self._secret = secret
        self._stretches = stretches

    async def SubmitTransferGroup(  # noqa: N802  # named by the contract
        self, request: pb2.SubmitTransferGroupRequest, call: Call
    ) -> pb2.SubmitTransferGroupResponse:
        """Post every transfer of the group, or none."""
        named = request.HasField("actor")
        self._admission.check_actor(call.client, named=named)
        count = len(request.transfers)
        if not 1 <= count <= MAX_BATCH:
            raise invalid_field("transfers", f"1 to {MAX_BATCH} transfers, not {count}")
        unknown = await self._identifiers.name_all_by_id(request.transfers, *SIDES)
        if unknown:
            first = min(unknown)
            error = unknown[first]
            raise replace(error, metadata={**error.metadata, "item": str(first)})
        items, proofs = await self._parse(request, call.client)
        if named:
            items = [self._acted(item, request.actor) for item in items]
        group = GroupCommand(
            call.client,
            request.idempotency_key,
            command_hash(self._secret, "group/1", *(item.request_hash.hex() for item in items)),
            tuple(item._replace(request_hash=b"") for item in items),
        )
        group = await self._admission.admit_group(group, proofs, call.deadline_s)
        (outcome,) = await self._engine.submit((group,), call.deadline_s)
        if not isinstance(outcome, GroupPosted):
            refusal = error_of(outcome)
            if self._refusals is not None:
                self._refusals.by_plan(METHOD, call.client, refusal)
            raise refusal
        reply = pb2.SubmitTransferGroupResponse(
            group_id=outcome.id, position=position_of(outcome), replayed=outcome.replayed
        )
        for place, one in enumerate(outcome.transfers):
            if place % AT_A_STRETCH == 0:
                await self._stretches.next()
            fill_transfer(reply.transfers.add(), one)
        return reply

    async def _parse(
        self, request: pb2.SubmitTransferGroupRequest, client: str
    ) -> tuple[list[TransferCommand], Mapping[AccountId, Proof]]:
        """The items, and by payer the approvals that came along.

        Raises PaycoreError INVALID_FIELD with the bad fields of all of it.
        """
        fields = Fields()
        fields.key(request.idempotency_key)
        if request.HasField("actor"):
            fields.actor(request.actor)
        error = fields.error()
        violations: list[Violation] = list(error.violations) if error is not None else []
        items: list[TransferCommand] = []
        for place, item in enumerate(request.transfers):
            if place % AT_A_STRETCH == 0:
                await self._stretches.next()
            try:
                items.append(parse_grouped(item, client, self._secret, place))
            except PaycoreError as refusal:
                violations.extend(refusal.violations)
        proofs = _read_proofs(request, violations)
        if violations:
            raise invalid_fields(tuple(violations))
        return items, proofs

    def _acted(self, item: TransferCommand, actor: actor_pb2.Actor) -> TransferCommand:
        """`item` with the user for whom the whole group was asked."""
        own = item.details or Details()
        details = Details(
            actor.user_id, actor.device_id, actor.ip_address, own.description, own.metadata
        )
        return item._replace(details=details, details_hash=details_hash(self._secret, details))


def _read_proofs(
    request: pb2.SubmitTransferGroupRequest, violations: list[Violation]
) -> Mapping[AccountId, Proof]:
    """The accounts of the items are named by id by then. What is wrong is added to `violations`."""
    if len(request.step_ups) > MAX_STEP_UPS:
        violations.append(Violation("step_ups", f"at most {MAX_STEP_UPS} approvals"))
        return {}
    payers = {item.debit_account_id for item in request.transfers}
    proofs: dict[AccountId, Proof] = {}
    for place, one in enumerate(request.step_ups):
        fields = Fields(f"step_ups[{place}].")
        payer = AccountId(one.payer_account_id)
        if payer not in payers:
            fields.violate("payer_account_id", "an account that an item of the group debits")
        if payer in proofs:
            fields.violate("payer_account_id", "once for each payer")
        proofs[payer] = read_proof(one.step_up, fields)
        error = fields.error()
        if error is not None:
            violations.extend(error.violations)
    return proofs
