"""Has a payment's step-up proof checked before the payment is queued, when it needs one."""

from __future__ import annotations

from typing import Protocol

from command_service.admission.proof import Proof
from paycore.domain.accounts import Account
from paycore.domain.device_key import DeviceSignature
from paycore.domain.pin import SealedPin
from paycore.domain.step_up import Authorization, Intent, PaymentIntent
from paycore.domain.transfers import TransferCommand


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

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def authorize(
        self, command: TransferCommand, payer: Account, proof: Proof, deadline_s: float
    ) -> TransferCommand:
        """`command`, which policy calls sensitive, with the authorization of `payer`'s owner.

        Raises PaycoreError as the authorizer does.
        """
        intent = PaymentIntent(
            kind=command.kind.value,
            debit_account=command.debit_account,
            credit_account=command.credit_account,
            amount=command.amount,
            currency=command.currency,
            client=command.client,
            idempotency_key=command.key,
            signed_at_us=proof.signed_at_us,
        )
        authorization = await self._authorizer.authorize(
            payer.owner, intent, proof.approval, deadline_s
        )
        return command._replace(authorization=authorization)
