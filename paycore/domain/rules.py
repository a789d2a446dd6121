"""What policy and the kinds of transfer allow, apart from any balance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from paycore.domain.accounts import Account, AccountKind
from paycore.domain.grants import GrantAction, Grants, Reach
from paycore.domain.transfers import StepUpBasis, TransferKind, TransferState, Visibility

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


@dataclass(frozen=True, slots=True)
class Rules:
    """What is set by policy: grants, and per currency the amount above which step-up is needed."""

    grants: Grants
    step_up_thresholds: Mapping[str, int]
    schemes: frozenset[tuple[str, str]] = frozenset()
    """Client and scheme, for each scheme whose names a client may link."""

    def may_link(self, client: str, scheme: str) -> bool:
        """Whether `client` may give names of `scheme`, to accounts where its grants let it."""
        return (client, scheme) in self.schemes

    def step_up_basis(
        self, command_client: str, kind: TransferKind, amount: int, currency: str, payer: Account
    ) -> StepUpBasis | None:
        """Why a payment needs no step-up, or None when it does. `amount` is in minor units."""
        if kind not in PAYER_INITIATED:
            return StepUpBasis.NOT_APPLICABLE
        threshold = self.step_up_thresholds.get(currency)
        if threshold is not None and amount <= threshold:
            return StepUpBasis.BELOW_THRESHOLD
        if self.grants.allows(
            command_client,
            GrantAction.STEP_UP_EXEMPT,
            opened_by=payer.opened_by,
            institution=payer.institution,
        ):
            return StepUpBasis.CLIENT_EXEMPT
        return None


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
