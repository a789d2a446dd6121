"""Has a payment's step-up proof checked before the payment is queued, when it needs one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from command_service.posting.store import LedgerStore, UnreachableError
from paycore.domain.accounts import Account, AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.pin import SealedPin
from paycore.domain.rules import Rules
from paycore.domain.step_up import Authorization, PaymentIntent
from paycore.domain.transfers import TransferCommand


class Authorizer(Protocol):
    """Who checks a proof and signs what was approved."""

    async def authorize(
        self, user_id: str, intent: PaymentIntent, proof: SealedPin, deadline_s: float
    ) -> Authorization:
        """The verified authorization, or PaycoreError as in `SignerClient.authorize`."""
        ...


class AccountReader(Protocol):
    """Reads accounts from the primary."""

    async def read(self, account_id: AccountId) -> Account | None:
        """The account, or None. Raises UnreachableError."""
        ...


class StepUpAdmission:
    """Turns a proof into an authorization. The plan decides; this only asks early.

    A request whose key has an outcome is answered from it, so its proof is not looked at again; nor
    is one that policy does not ask for.
    """

    def __init__(
        self,
        store: LedgerStore,
        accounts: AccountReader,
        authorizer: Authorizer,
        rules: Callable[[], Rules],
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._authorizer = authorizer
        self._rules = rules

    async def authorize(
        self, command: TransferCommand, proof: SealedPin, signed_at_us: int, deadline_s: float
    ) -> TransferCommand:
        """`command`, with an authorization where it needs one.

        Raises PaycoreError as the authorizer does, or DATABASE_UNAVAILABLE.
        """
        try:
            if await self._store.find(command.client, command.key) is not None:
                return command
            payer = await self._accounts.read(command.debit_account)
        except UnreachableError as error:
            raise PaycoreError(
                Reason.DATABASE_UNAVAILABLE, "the ledger cannot be reached", retry_after_ms=250
            ) from error
        if payer is None:
            return command
        rules = self._rules()
        if not self._may_debit(rules, command, payer) or (
            rules.step_up_basis(
                command.client, command.kind, command.amount, command.currency, payer
            )
            is not None
        ):
            return command
        intent = PaymentIntent(
            kind=command.kind.value,
            debit_account=command.debit_account,
            credit_account=command.credit_account,
            amount=command.amount,
            currency=command.currency,
            client=command.client,
            idempotency_key=command.key,
            signed_at_us=signed_at_us,
        )
        authorization = await self._authorizer.authorize(payer.owner, intent, proof, deadline_s)
        return command._replace(authorization=authorization)

    @staticmethod
    def _may_debit(rules: Rules, command: TransferCommand, payer: Account) -> bool:
        # A client that may not debit the account must not be able to use up its owner's attempts.
        return rules.grants.allows(
            command.client,
            command.kind,
            opened_by=payer.opened_by,
            institution=payer.institution,
        )
