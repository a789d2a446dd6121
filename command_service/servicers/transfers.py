"""TransferService: moves money, and finds what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from command_service import anew
from command_service.accounts.ledger import AccountLedger
from command_service.admission.step_up import StepUpAdmission
from command_service.posting import metrics
from command_service.posting.engine import PostingEngine
from command_service.posting.store import (
    NO_POSITION,
    LedgerStore,
    UnreachableError,
)
from command_service.servicers.fields import MAX_BATCH, MAX_REFERENCE, Fields
from command_service.servicers.transfer_replies import (
    error_of,
    fill_outcomes,
    fill_transfer,
)
from command_service.servicers.transfer_requests import ParsedTransfer, parse_transfer
from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason, invalid_field
from paycore.domain.grants import GrantAction
from paycore.domain.plan import StoredOutcome
from paycore.domain.rules import Rules, visibility
from paycore.domain.transfers import (
    Decline,
    Declined,
    Outcome,
    Posted,
    Refused,
    Transfer,
    TransferCommand,
    Visibility,
)
from paycore.runtime.server import Call
from paycore.v1 import transfer_service_pb2 as pb2

MAX_FOUND = 100
"""Outcomes that a look-up by reference gives at most."""

LOOKUP_MARGIN_S = 0.1
"""How much before its deadline a look-up gives up, so that the answer still arrives."""

PROOFS_AT_ONCE = 16
"""Proofs of one bulk request that are being checked at the same time."""


class TransferServicer:
    """Translates, has proofs checked, and hands commands to the engine."""

    def __init__(
        self,
        engine: PostingEngine,
        store: LedgerStore,
        accounts: AccountLedger,
        step_up: StepUpAdmission,
        rules: Callable[[], Rules],
        secret: bytes,
    ) -> None:
        self._engine = engine
        self._store = store
        self._accounts = accounts
        self._step_up = step_up
        self._rules = rules
        self._secret = secret

    async def SubmitTransfer(  # noqa: N802  # named by the contract
        self, request: pb2.SubmitTransferRequest, call: Call
    ) -> pb2.SubmitTransferResponse:
        """Post one transfer; every refusal is an error of the call."""
        try:
            parsed = parse_transfer(request, call.client, self._secret)
            command = await self._admit(parsed, call)
        except PaycoreError as error:
            metrics.count([Refused(error)])
            raise
        (outcome,) = await self._engine.submit((command,), call.deadline_s)
        if not isinstance(outcome, Posted):
            raise error_of(outcome)
        reply = pb2.SubmitTransferResponse(
            position="" if outcome.position is None else outcome.position.encode(),
            replayed=outcome.replayed,
        )
        fill_transfer(reply.transfer, outcome)
        return reply

    async def SubmitTransfers(  # noqa: N802  # named by the contract
        self, request: pb2.SubmitTransfersRequest, call: Call
    ) -> pb2.SubmitTransfersResponse:
        """Post many transfers, each with an outcome of its own."""
        count = len(request.transfers)
        if not 1 <= count <= MAX_BATCH:
            raise invalid_field("transfers", f"1 to {MAX_BATCH} transfers, not {count}")
        outcomes: list[Outcome | None] = [None] * count
        commands: list[TransferCommand] = []
        places: list[int] = []
        with_proof: list[tuple[int, ParsedTransfer]] = []
        client, secret = call.client, self._secret
        for index, item in enumerate(request.transfers):
            try:
                parsed = parse_transfer(item, client, secret, index)
                self._check_actor(parsed, client)
            except PaycoreError as error:
                outcomes[index] = Refused(error)
                metrics.count([Refused(error)])
                continue
            if parsed.proof is not None:
                with_proof.append((len(commands), parsed))
            commands.append(parsed.command)
            places.append(index)
        refused = await self._authorize_all(with_proof, commands, call) if with_proof else {}
        for at, refusal in refused.items():
            outcomes[places[at]] = Refused(refusal)
            metrics.count([Refused(refusal)])
        if refused:
            kept = [at for at in range(len(commands)) if at not in refused]
            commands, places = [commands[at] for at in kept], [places[at] for at in kept]
        if commands:
            decided = await self._engine.submit(commands, call.deadline_s)
            for index, outcome in zip(places, decided, strict=True):
                outcomes[index] = outcome
        reply = pb2.SubmitTransfersResponse()
        reply.position = fill_outcomes(
            reply.outcomes, [outcome for outcome in outcomes if outcome is not None]
        )
        return reply

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
        if not outcomes:
            raise PaycoreError(
                Reason.TRANSFER_NOT_FOUND,
                "no transfer of yours has it",
                {"id": request.idempotency_key or request.reference},
            )
        reply = pb2.LookupTransferResponse()
        fill_outcomes(reply.outcomes, outcomes)
        return reply

    async def _admit(self, parsed: ParsedTransfer, call: Call) -> TransferCommand:
        self._check_actor(parsed, call.client)
        if parsed.proof is None:
            return parsed.command
        return await self._step_up.authorize(
            parsed.command, parsed.proof.sealed_pin, parsed.proof.signed_at_us, call.deadline_s
        )

    async def _authorize_all(
        self,
        with_proof: Sequence[tuple[int, ParsedTransfer]],
        commands: list[TransferCommand],
        call: Call,
    ) -> dict[int, PaycoreError]:
        """Put authorized commands in place; the refusals by their place."""
        refused: dict[int, PaycoreError] = {}
        places = asyncio.Semaphore(PROOFS_AT_ONCE)

        async def authorize(at: int, parsed: ParsedTransfer) -> None:
            async with places:
                try:
                    commands[at] = await self._admit(parsed, call)
                except PaycoreError as error:
                    refused[at] = error

        async with asyncio.TaskGroup() as group:
            for at, parsed in with_proof:
                group.create_task(authorize(at, parsed))
        return refused

    def _check_actor(self, parsed: ParsedTransfer, client: str) -> None:
        """A named user is believed only from clients that are granted to speak for users."""
        if parsed.names_actor and not self._rules().grants.holds(client, GrantAction.ACT_FOR_USERS):
            raise PaycoreError(
                Reason.NOT_PERMITTED,
                f"{client} may not name an actor",
                {"grant": GrantAction.ACT_FOR_USERS},
            )

    async def _replayed(self, client: str, found: Sequence[StoredOutcome]) -> list[Outcome]:
        """Stored rows as the outcomes that they were."""
        ids: set[AccountId] = set()
        for stored in found:
            if stored.row is not None:
                ids.update((stored.row.debit_account, stored.row.credit_account))
        accounts = await self._accounts.read_many(list(ids)) if ids else {}
        grants = self._rules().grants
        outcomes: list[Outcome] = []
        for stored in found:
            position = None if stored.position == NO_POSITION else stored.position
            if isinstance(stored.row, Transfer):
                debit = accounts.get(stored.row.debit_account)
                credit = accounts.get(stored.row.credit_account)
                visible = Visibility(False, False)
                if debit is not None and credit is not None:
                    visible = visibility(grants, client, debit, credit)
                outcomes.append(Posted(stored.row, stored.details, visible, True, position))
            elif isinstance(stored.row, Decline):
                payer = accounts.get(stored.row.debit_account)
                readable = payer is not None and self._accounts.may_read(client, payer)
                outcomes.append(Declined(stored.row, stored.details, readable, True, position))
        return outcomes
