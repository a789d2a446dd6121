"""Random transfers between the accounts of a population."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

from operations.load.population import Population
from paycore.client import Money, TransferOrder


def random_orders(
    population: Population, largest: Mapping[str, int], chance: random.Random, run: str
) -> Iterator[TransferOrder]:
    """Endless transfers of 1 to `largest` minor units of a currency, between two of its accounts.

    Currencies are chosen in proportion to their accounts. Keys begin with `run` and are unique.
    """
    payers = [
        account
        for accounts in population.customers.values()
        if len(accounts) > 1
        for account in accounts
    ]
    number = 0
    while True:
        payer = chance.choice(payers)
        payee = payer
        while payee.id == payer.id:
            payee = chance.choice(population.customers[payer.currency])
        number += 1
        yield TransferOrder(
            debit_account=payer.id,
            credit_account=payee.id,
            amount=Money(chance.randint(1, largest[payer.currency]), payer.currency),
            reference=run,
            idempotency_key=f"{run}-{number}",
        )
