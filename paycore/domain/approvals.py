"""On what ground a payment is let through: approved, exempt, below policy, not applicable."""

from __future__ import annotations

from paycore.domain.accounts import Account, AccountId
from paycore.domain.draft import Draft, Working
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.past import Part, part_of, parts_of, settled
from paycore.domain.plan import AuthorizationRow
from paycore.domain.rules import GUARDED
from paycore.domain.step_up import (
    Authorization,
    GroupIntent,
    GroupLeg,
    PaymentIntent,
    group_digest,
    payment_digest,
)
from paycore.domain.step_up_policy import StepUpRule
from paycore.domain.transfers import GroupCommand, StepUpBasis, TransferCommand


def basis_of(
    draft: Draft, command: TransferCommand, client: str, debit: Working, credit: Working
) -> StepUpBasis:
    """Why a single payment may be posted.

    Raises PaycoreError AUTHORIZATION_INVALID, AUTHORIZATION_EXPIRED or STEP_UP_REQUIRED.
    """
    payer = debit.account
    if command.authorization is not None:
        check_authorization(command.authorization, payer, draft.now_us)
        _check_digest(command, command.authorization)
        return StepUpBasis.AUTHORIZED
    if command.kind not in GUARDED:
        return StepUpBasis.NOT_APPLICABLE
    found = draft.rules.step_up_of(client, command, payer)
    if found is None:
        found = _by_past(draft, part_of(command), draft.entry_time_us(debit, credit))
    if isinstance(found, StepUpBasis):
        return found
    raise step_up_required(
        draft,
        found,
        payer,
        command.currency,
        {
            "kind": command.kind.value,
            "payee": str(command.credit_account),
            "amount": str(command.amount),
        },
    )


class GroupApprovals:
    """The same for a group: once for each of its payers, for all that they pay by it."""

    def __init__(self, draft: Draft, group: GroupCommand) -> None:
        self._draft = draft
        self._group = group
        self._given = dict(group.authorizations)
        self._parts = parts_of(group.items)
        self._bases: dict[tuple[AccountId, str], StepUpBasis] = {}

    def basis_of(self, item: TransferCommand, debit: Working, credit: Working) -> StepUpBasis:
        """Why `item` may be posted. Raises as for a single payment."""
        if item.kind not in GUARDED:
            return StepUpBasis.NOT_APPLICABLE
        payer = debit.account
        key = (payer.id, item.currency)
        basis = self._bases.get(key)
        if basis is None:
            at_us = self._draft.entry_time_us(debit, credit)
            basis = self._bases[key] = self._decide(self._parts[key], payer, at_us)
        return basis

    def with_authorization(self, item: TransferCommand, basis: StepUpBasis) -> TransferCommand:
        """`item`, with its payer's authorization where that lets it through."""
        if basis is not StepUpBasis.AUTHORIZED:
            return item
        return item._replace(authorization=self._given[item.debit_account])

    def rows(self, group_id: int) -> list[AuthorizationRow]:
        """The authorizations on which items were let through."""
        return [
            AuthorizationRow(
                None, self._group.client, self._group.key, self._given[payer], group_id, payer
            )
            for (payer, _), basis in self._bases.items()
            if basis is StepUpBasis.AUTHORIZED
        ]

    def _decide(self, part: Part, payer: Account, at_us: int) -> StepUpBasis:
        draft = self._draft
        authorization = self._given.get(payer.id)
        if authorization is not None:
            check_authorization(authorization, payer, draft.now_us)
            self._check_digest(authorization, payer.id)
            return StepUpBasis.AUTHORIZED
        found = settled(draft.rules, self._group.client, part, payer)
        if found is None:
            found = _by_past(draft, part, at_us)
        if isinstance(found, StepUpBasis):
            return found
        raise step_up_required(
            draft,
            found,
            payer,
            part.currency,
            {"total": str(part.total), "payees": str(len(part.payees))},
        )

    def _check_digest(self, authorization: Authorization, payer: AccountId) -> None:
        intent = group_intent(self._group, payer, authorization.signed_at_us)
        if group_digest(intent) != authorization.digest:
            raise PaycoreError(
                Reason.AUTHORIZATION_INVALID,
                "the authorization is not for this group",
                {"account": str(payer), "why": "other group"},
            )


def payment_intent(command: TransferCommand, signed_at_us: int) -> PaymentIntent:
    """What the payer approves of a single payment."""
    return PaymentIntent(
        command.kind.value,
        command.debit_account,
        command.credit_account,
        command.amount,
        command.currency,
        command.client,
        command.key,
        signed_at_us,
    )


def group_intent(group: GroupCommand, payer: AccountId, signed_at_us: int) -> GroupIntent:
    """What `payer` approves of `group`."""
    return GroupIntent(
        group.client,
        group.key,
        payer,
        tuple(
            GroupLeg(
                item.kind.value, item.debit_account, item.credit_account, item.amount, item.currency
            )
            for item in group.items
        ),
        signed_at_us,
    )


def check_authorization(authorization: Authorization, payer: Account, now_us: int) -> None:
    """It is by the payer's owner, and fresh.

    Raises PaycoreError AUTHORIZATION_INVALID or AUTHORIZATION_EXPIRED.
    """
    if authorization.user_id != payer.owner:
        raise PaycoreError(
            Reason.AUTHORIZATION_INVALID,
            "the authorization is not by the owner of the debited account",
            {"account": str(payer.id), "why": "other user"},
        )
    if authorization.expires_at_us <= now_us:
        raise PaycoreError(
            Reason.AUTHORIZATION_EXPIRED,
            "the authorization has expired",
            {"account": str(payer.id), "why": "expired"},
        )


def step_up_required(
    draft: Draft, rule: StepUpRule, payer: Account, currency: str, what: dict[str, str]
) -> PaycoreError:
    """The refusal that tells what must be authorized, and by which rule.

    It does not tell what the payer paid before: that is for whoever may read the account.
    """
    figures = {**what, "account": str(payer.id), "currency": currency, "rule": rule.value}
    policy = draft.rules.policies.get(currency)
    limit = None if policy is None else policy.limit(rule)
    if limit is not None:
        figures["threshold"] = str(limit)
    return PaycoreError(
        Reason.STEP_UP_REQUIRED,
        "the owner of the debited account must approve this payment",
        figures,
    )


def _check_digest(command: TransferCommand, authorization: Authorization) -> None:
    if payment_digest(payment_intent(command, authorization.signed_at_us)) != authorization.digest:
        raise PaycoreError(
            Reason.AUTHORIZATION_INVALID,
            "the authorization is not for this payment",
            {"account": str(command.debit_account), "why": "other payment"},
        )


def _by_past(draft: Draft, part: Part, at_us: int) -> StepUpBasis | StepUpRule:
    policy = draft.rules.policies[part.currency]
    return draft.past.broken_rule(policy, part, at_us) or StepUpBasis.BELOW_THRESHOLD
