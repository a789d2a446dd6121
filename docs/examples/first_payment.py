"""A first payment: open two accounts, bring money in, move some, read it back.

Runs against a local stack (`make up`): .venv/bin/python docs/examples/first_payment.py .paycore
"""

import asyncio
import sys
from pathlib import Path

from deploy.local import load_stack
from paycore.client import (
    AccountKind,
    Money,
    NewAccount,
    PaycoreClient,
    TransferKind,
    TransferOrder,
)
from paycore.client.errors import InsufficientFundsError


async def main(state: Path) -> None:
    stack = load_stack(state)
    async with PaycoreClient(
        stack.command_target, query_target=stack.query_target, tls=stack.tls["app"]
    ) as paycore:
        cash = await paycore.create_account(
            NewAccount("treasury", "bank-a", "EUR", kind=AccountKind.EXTERNAL)
        )
        alice = await paycore.create_account(NewAccount("alice", "bank-a", "EUR"))
        bob = await paycore.create_account(NewAccount("bob", "bank-b", "EUR"))

        def pay(debit: int, credit: int, cents: int, kind: TransferKind) -> TransferOrder:
            return TransferOrder(debit, credit, Money(cents, "EUR"), kind=kind)

        await paycore.submit_transfer(
            pay(cash.account.id, alice.account.id, 50_00, TransferKind.DEPOSIT)
        )
        paid = await paycore.submit_transfer(
            pay(alice.account.id, bob.account.id, 12_50, TransferKind.TRANSFER)
        )
        # The receipt's position makes the query wait until it sees this payment.
        balance = await paycore.get_balance(alice.account.id, min_position=paid.position)
        print(f"alice has {balance.balance.minor_units} cents")
        try:
            await paycore.submit_transfer(
                pay(alice.account.id, bob.account.id, 99_00, TransferKind.TRANSFER)
            )
        except InsufficientFundsError as error:
            print(f"declined: {error.metadata['available']} of {error.metadata['requested']}")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
