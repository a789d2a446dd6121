"""Has a payment's step-up proof checked before the payment is queued, when it needs one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from command_service.admission.few_at_once import few_at_once
from command_service.admission.proof import Proof
from paycore.domain.accounts import Account, AccountId
from paycore.domain.approvals import group_intent, payment_intent
from paycore.domain.device_key import DeviceSignature
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.pin import SealedPin
from paycore.domain.step_up import Authorization, Intent
from paycore.domain.transfers import Details, GroupCommand, TransferCommand
from paycore.runtime.security_events import Event, Kind, SecurityEvents, person_of

REFUSED = frozenset(
    {
        Reason.AUTHORIZATION_INVALID,
        Reason.AUTHORIZATION_EXPIRED,
        Reason.AUTHORIZATION_USED,
        Reason.PIN_INCORRECT,
        Reason.PIN_LOCKED,
    }
)
"""What the authorizer says of a proof that does not hold; anything else says nothing about it."""


class Authorizer(Protocol):
    """Who checks a proof and signs what was approved."""

    async def authorize(
        self,
        user_id: str,
        intent: Intent,
        proof: SealedPin | DeviceSignature,
        deadline_s: float,
    ) -> Authorization:
        """The verified authorization, or PaycoreError as in `SignerClient.authorize`."""
        ...


class StepUpAdmission:
    """Turns a proof into an authorization. The plan decides; this only asks early."""

    def __init__(self, authorizer: Authorizer, events: SecurityEvents | None = None) -> None:
        """`events` are told of proofs that do not hold."""
        self._authorizer = authorizer
        self._events = events

    async def authorize(
        self, command: TransferCommand, payer: Account, proof: Proof, deadline_s: float
    ) -> TransferCommand:
        """`command`, which policy calls sensitive, with the authorization of `payer`'s owner.

        Raises PaycoreError as the authorizer does.
        """
        intent = payment_intent(command, proof.signed_at_us)
        try:
            authorization = await self._authorizer.authorize(
                payer.owner, intent, proof.approval, deadline_s
            )
        except PaycoreError as error:
            if error.reason in REFUSED and self._events is not None:
                self._tell(self._events, error, command.client, command.details, payer.owner)
            raise
        return command._replace(authorization=authorization)

    async def authorize_group(
        self, group: GroupCommand, proofs: Mapping[Account, Proof], deadline_s: float
    ) -> GroupCommand:
        """`group` with the authorizations of the owners of those accounts, each for its part.

        Raises PaycoreError as the authorizer does, with the first account that it refuses.
        """
        given: dict[AccountId, Authorization] = {}
        refused: dict[AccountId, PaycoreError] = {}
        asked = list(proofs.items())

        async def ask(at: int) -> None:
            payer, proof = asked[at]
            intent = group_intent(group, payer.id, proof.signed_at_us)
            try:
                given[payer.id] = await self._authorizer.authorize(
                    payer.owner, intent, proof.approval, deadline_s
                )
            except PaycoreError as error:
                if error.reason in REFUSED and self._events is not None:
                    self._tell(
                        self._events, error, group.client, group.items[0].details, payer.owner
                    )
                account = {"account": str(payer.id)}
                refused[payer.id] = replace(error, metadata={**error.metadata, **account})

        await few_at_once(ask, range(len(asked)))
        for payer, _ in asked:
            if payer.id in refused:
                raise refused[payer.id]
        return group._replace(authorizations=tuple(given.items()))

    @staticmethod
    def _tell(
        events: SecurityEvents,
        error: PaycoreError,
        client: str,
        actor: Details | None,
        owner: str,
    ) -> None:
        person = None if actor is None else person_of(actor)
        device = None if person is None else person.device_id
        kind = Kind(Event.STEP_UP_REFUSED, client, None, error.reason.value, owner, device)
        events.note(kind, person=person)
