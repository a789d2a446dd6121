"""What policy and the kinds of transfer allow, apart from any balance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from paycore.domain.accounts import Account, AccountKind
from paycore.domain.grants import GrantAction, Grants, Reach
from paycore.domain.step_up_policy import StepUpPolicy, StepUpRule
from paycore.domain.transfers import (
    StepUpBasis,
    TransferCommand,
    TransferKind,
    TransferState,
    Visibility,
)

ENDPOINTS: Mapping[TransferKind, tuple[AccountKind, AccountKind | None]] = {
    TransferKind.TRANSFER: (AccountKind.CUSTOMER, AccountKind.CUSTOMER),
    TransferKind.DEPOSIT: (AccountKind.EXTERNAL, AccountKind.CUSTOMER),
    TransferKind.WITHDRAWAL: (AccountKind.CUSTOMER, AccountKind.EXTERNAL),
    TransferKind.FEE: (AccountKind.CUSTOMER, AccountKind.CUSTOMER),
    TransferKind.NET_SETTLEMENT: (AccountKind.CUSTOMER, AccountKind.CUSTOMER),
    TransferKind.HOLD: (AccountKind.CUSTOMER, None),
}
"""Which kinds of account each kind of transfer debits and credits, None for either. Transfers that
follow another take their accounts from it."""

LEGAL_CHILDREN: Mapping[TransferKind, frozenset[TransferKind]] = {
    TransferKind.CAPTURE: frozenset({TransferKind.HOLD}),
    TransferKind.RELEASE: frozenset({TransferKind.HOLD}),
    TransferKind.REFUND: frozenset({TransferKind.TRANSFER, TransferKind.CAPTURE, TransferKind.FEE}),
    TransferKind.REVERSAL: frozenset(
        {
            TransferKind.TRANSFER,
            TransferKind.DEPOSIT,
            TransferKind.WITHDRAWAL,
            TransferKind.CAPTURE,
            TransferKind.FEE,
            TransferKind.NET_SETTLEMENT,
        }
    ),
}
"""Which kinds of transfer each kind may follow."""

OPEN_HOLD_STATES = frozenset({TransferState.HELD, TransferState.PARTIALLY_CAPTURED})
"""States of a hold in which something is still held."""

PAYER_INITIATED = frozenset({TransferKind.TRANSFER, TransferKind.WITHDRAWAL, TransferKind.HOLD})
"""Kinds that the payer sets in motion, and that step-up therefore guards (PSD2 RTS article 4)."""

GUARDED = PAYER_INITIATED | {TransferKind.FEE, TransferKind.NET_SETTLEMENT}
"""Kinds that take money of a customer and follow no other transfer. What a client takes by itself
is held to the threshold too: without it a client could empty its customers in the name of a fee."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is set by policy: grants, and per currency when a payer must approve."""

    grants: Grants
    policies: Mapping[str, StepUpPolicy]
    schemes: frozenset[tuple[str, str]] = frozenset()
    """Client and scheme, for each scheme whose names a client may link."""
    hanging: frozenset[str] = field(init=False)
    """Currencies in which policy hangs on what payers did before."""

    def __post_init__(self) -> None:
        hanging = (currency for currency, one in self.policies.items() if one.hangs_on_past)
        object.__setattr__(self, "hanging", frozenset(hanging))

    def may_link(self, client: str, scheme: str) -> bool:
        """Whether `client` may give names of `scheme`, to accounts where its grants let it."""
        return (client, scheme) in self.schemes

    def step_up_of(
        self, client: str, command: TransferCommand, payer: Account
    ) -> StepUpBasis | StepUpRule | None:
        """`step_up` of a single payment of a kind that is GUARDED."""
        amount = command.amount
        to_one = amount if command.kind in PAYER_INITIATED else 0
        return self.step_up(client, amount, command.currency, payer, to_one)

    def step_up(
        self, client: str, amount: int, currency: str, payer: Account, to_one: int
    ) -> StepUpBasis | StepUpRule | None:
        """Why what a payer pays needs no approval, or the rule that asks for it.

        None where that hangs on what the payer did before. `amount`, in minor units, is all that
        the payer pays by one command; `to_one` the most that one payee gets by what the payer sets
        in motion, 0 where that is nothing: then no rule hangs on the past.
        """
        policy = self.policies.get(currency)
        rule: StepUpRule | None = None
        if policy is None:
            rule = StepUpRule.NO_POLICY
        elif amount > policy.threshold:
            rule = StepUpRule.THRESHOLD
        elif policy.daily_total is None and not policy.asks_for_payee(to_one):
            return StepUpBasis.BELOW_THRESHOLD
        # Before the past is asked for: what is exempt does not hang on it.
        if self.grants.allows(
            client,
            GrantAction.STEP_UP_EXEMPT,
            opened_by=payer.opened_by,
            institution=payer.institution,
        ):
            return StepUpBasis.CLIENT_EXEMPT
        if rule is None and not to_one:
            return StepUpBasis.BELOW_THRESHOLD
        return rule


def visibility(grants: Grants, client: str, debit: Account, credit: Account) -> Visibility:
    """Which of a transfer's accounts `client` may read."""
    return visible_to(grants.reach(client, GrantAction.READ), client, debit, credit)


_VISIBILITIES = tuple(
    tuple(Visibility(debit, credit) for credit in (False, True)) for debit in (False, True)
)
"""Indexed by what may be read of the debited, then of the credited account."""


def visible_to(reads: Reach, client: str, debit: Account, credit: Account) -> Visibility:
    """The same where what `client` may read was looked up before."""
    return _VISIBILITIES[reads.covers(client, debit.opened_by, debit.institution)][
        reads.covers(client, credit.opened_by, credit.institution)
    ]
