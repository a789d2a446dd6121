"""What policy says of the payers of a group before their past is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from paycore.domain.accounts import Account, AccountId
from paycore.domain.past import parts_of, settled
from paycore.domain.rules import GUARDED, Rules
from paycore.domain.step_up_policy import StepUpRule
from paycore.domain.transfers import GroupCommand, StepUpBasis


class EarlyPart(NamedTuple):
    """One payer of a group, and what `Rules.step_up` says of all that it pays by it."""

    payer: Account
    found: StepUpBasis | StepUpRule | None


def early_of_group(
    group: GroupCommand, payers: Mapping[int, Account], rules: Rules
) -> dict[AccountId, EarlyPart]:
    """By account that pays; without those of which the client may not make every payment.

    `payers` are those found, by the place of their item.
    """
    accounts: dict[AccountId, Account] = {}
    barred: set[AccountId] = set()
    for place, item in enumerate(group.items):
        if item.kind in GUARDED:
            if place in payers:
                accounts[item.debit_account] = payers[place]
            else:
                barred.add(item.debit_account)
    return {
        part.payer: EarlyPart(
            accounts[part.payer], settled(rules, group.client, part, accounts[part.payer])
        )
        for part in parts_of(group.items).values()
        if part.payer not in barred
    }
