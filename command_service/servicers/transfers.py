"""TransferService: moves money, and finds what became of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from command_service import anew
from command_service.accounts.ledger import AccountLedger
from command_service.admission.admission import Admission
from command_service.admission.proof import ParsedTransfer
from command_service.personal.posting import PersonalPosting
from command_service.personal.vault import Vault
from command_service.posting import metrics
from command_service.posting.store import (
    NO_POSITION,
    LedgerStore,
    UnreachableError,
)
from command_service.refusals import Refusals
from command_service.servicers.fields import MAX_BATCH, MAX_REFERENCE, Fields
from command_service.servicers.intake import Exceeding, TransferIntake
from command_service.servicers.stretches import AT_A_STRETCH, Stretches
from command_service.servicers.transfer_replies import (
    error_of,
    fill_outcomes,
    fill_transfer,
    position_of,
)
from command_service.servicers.transfer_requests import parse_hold, parse_transfer
from paycore.domain.errors import PaycoreError, Reason, invalid_field
from paycore.domain.plan import StoredGroup, StoredOutcome
from paycore.domain.position import Position
from paycore.domain.rules import Rules, visibility
from paycore.domain.transfers import (
    Decline,
    Declined,
    Outcome,
    Posted,
    Refused,
    StoredDetails,
    Transfer,
    Visibility,
)
from paycore.runtime.account_names import SIDES
from paycore.runtime.identifiers import Identifiers
from paycore.runtime.server import Call
from paycore.v1 import transfer_service_pb2 as pb2

_Request = TypeVar("_Request", pb2.SubmitTransferRequest, pb2.HoldFundsRequest)

SINGLE, MANY = (
    "paycore.v1.TransferService/SubmitTransfer",
    "paycore.v1.TransferService/SubmitTransfers",
)

MAX_FOUND = 100
"""Outcomes that a look-up by reference gives at most."""

LOOKUP_MARGIN_S = 0.1
"""How much before its deadline a look-up gives up, so that the answer still arrives."""


class TransferServicer:
    """Translates, has proofs checked, and hands commands to the engine."""

    def __init__(
        self,
        engine: PersonalPosting,
        vault: Vault,
        store: LedgerStore,
        accounts: AccountLedger,
        admission: Admission,
        identifiers: Identifiers,
        rules: Callable[[], Rules],
        secret: bytes,
        stretches: Stretches,
        exceeding: Exceeding | None = None,
        refusals: Refusals | None = None,
    ) -> None:
        """`refusals` are told of what is refused without ending a call."""
        self._refusals = refusals
        self._engine = engine
        self._vault = vault
        self._identifiers = identifiers
        self._store = store
        self._accounts = accounts
        self._admission = admission
        self._rules = rules
        self._secret = secret
        self._intake = TransferIntake(identifiers, admission, secret, stretches, exceeding)
        self._stretches = stretches

    async def SubmitTransfer(  # noqa: N802  # named by the contract
        self, request: pb2.SubmitTransferRequest, call: Call
    ) -> pb2.SubmitTransferResponse:
        """Post one transfer; every refusal is an error of the call."""
        outcome = await self._post(request, parse_transfer, call)
        reply = pb2.SubmitTransferResponse(position=position_of(outcome), replayed=outcome.replayed)
        fill_transfer(reply.transfer, outcome)
        return reply

    async def HoldFunds(  # noqa: N802  # named by the contract
        self, request: pb2.HoldFundsRequest, call: Call
    ) -> pb2.HoldFundsResponse:
        """Set money aside; every refusal is an error of the call."""
        outcome = await self._post(request, parse_hold, call)
        reply = pb2.HoldFundsResponse(position=position_of(outcome), replayed=outcome.replayed)
        fill_transfer(reply.transfer, outcome)
        return reply

    async def _post(
        self, request: _Request, parse: Callable[[_Request, str, bytes], ParsedTransfer], call: Call
    ) -> Posted:
        try:
            if not (request.debit_account_id and request.credit_account_id):
                await self._identifiers.name_by_id(request, *SIDES)
            parsed = parse(request, call.client, self._secret)
            command = await self._admission.admit(parsed, call.deadline_s)
        except PaycoreError as error:
            metrics.count([Refused(error)])
            raise
        (outcome,) = await self._engine.submit((command,), call.deadline_s)
        if not isinstance(outcome, Posted):
            refusal = error_of(outcome)
            if self._refusals is not None:
                self._refusals.by_plan(SINGLE, call.client, refusal)
            raise refusal
        return outcome

    async def SubmitTransfers(  # noqa: N802  # named by the contract
        self, request: pb2.SubmitTransfersRequest, call: Call
    ) -> pb2.SubmitTransfersResponse:
        """Post many transfers, each with an outcome of its own."""
        count = len(request.transfers)
        if not 1 <= count <= MAX_BATCH:
            raise invalid_field("transfers", f"1 to {MAX_BATCH} transfers, not {count}")
        outcomes: list[Outcome | None] = [None] * count
        intake = await self._intake.take_in(request.transfers, call.client, call.deadline_s)
        for index, refused in intake.refused:
            outcomes[index] = refused
        if intake.commands:
            decided = await self._engine.submit(intake.commands, call.deadline_s)
            for index, outcome in zip(intake.places, decided, strict=True):
                outcomes[index] = outcome
        self._tell_refused(call.client, request.transfers, outcomes)
        reply = pb2.SubmitTransfersResponse()
        reply.position = await self._fill(
            reply.outcomes,
            [outcome for outcome in outcomes if outcome is not None],
            [item.idempotency_key for item in request.transfers],
        )
        return reply

    def _tell_refused(
        self, client: str, items: Sequence[Any], outcomes: Sequence[Outcome | None]
    ) -> None:
        if self._refusals is None:
            return
        for item, outcome in zip(items, outcomes, strict=True):
            if isinstance(outcome, Refused):
                self._refusals.of_item(MANY, client, outcome.error, item)

    async def _fill(self, messages: Any, outcomes: Sequence[Outcome], keys: Sequence[str]) -> str:
        """As `fill_outcomes`, a stretch at a time."""
        latest = ""
        for start in range(0, len(outcomes), AT_A_STRETCH):
            await self._stretches.next()
            some = slice(start, start + AT_A_STRETCH)
            position = fill_outcomes(messages, outcomes[some], keys[some])
            if position and (not latest or Position.decode(position) > Position.decode(latest)):
                latest = position
        return latest

    async def LookupTransfer(  # noqa: N802  # named by the contract
        self, request: pb2.LookupTransferRequest, call: Call
    ) -> pb2.LookupTransferResponse:
        """What the caller's key or reference stored, from the primary."""
        fields = Fields()
        try:
            if request.WhichOneof("by") == "idempotency_key":
                fields.key(request.idempotency_key)
                fields.check()
                one = await self._store.find_settled(
                    call.client, request.idempotency_key, call.deadline_s - LOOKUP_MARGIN_S
                )
                found = [] if one is None or one.row is None else [one]
            else:
                fields.text("reference", request.reference, MAX_REFERENCE, required=True)
                fields.check()
                found = await self._store.find_by_reference(
                    call.client, request.reference, MAX_FOUND
                )
            outcomes = await self._replayed(call.client, found)
        except UnreachableError as error:
            raise anew.database_unavailable() from error
        await self._vault.reveal(outcomes, call.deadline_s - LOOKUP_MARGIN_S)
        if not outcomes:
            raise PaycoreError(
                Reason.TRANSFER_NOT_FOUND,
                "no transfer of yours has it",
                {"id": request.idempotency_key or request.reference},
            )
        reply = pb2.LookupTransferResponse()
        fill_outcomes(reply.outcomes, outcomes)
        return reply

    async def _replayed(self, client: str, found: Sequence[StoredOutcome]) -> list[Outcome]:
        """Stored rows as the outcomes that they were; of a group, one for each transfer."""
        rows = [
            (row, details, None if stored.position == NO_POSITION else stored.position)
            for stored in found
            for row, details in _rows(stored)
        ]
        ids = {side for row, _, _ in rows for side in (row.debit_account, row.credit_account)}
        accounts = await self._accounts.read_many(list(ids)) if ids else {}
        grants = self._rules().grants
        outcomes: list[Outcome] = []
        for row, details, position in rows:
            debit, credit = accounts.get(row.debit_account), accounts.get(row.credit_account)
            if isinstance(row, Transfer):
                visible = Visibility(False, False)
                if debit is not None and credit is not None:
                    visible = visibility(grants, client, debit, credit)
                outcomes.append(Posted(row, details, visible, True, position))
            else:
                readable = debit is not None and self._accounts.may_read(client, debit)
                outcomes.append(Declined(row, details, readable, True, position))
        return outcomes


def _rows(stored: StoredOutcome) -> Sequence[tuple[Transfer | Decline, StoredDetails | None]]:
    match stored.row:
        case None:
            return ()
        case StoredGroup():
            return stored.row.transfers
        case row:
            return ((row, stored.details),)
