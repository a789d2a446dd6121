"""Requests made before the clock runs: serialized, each with a key of its own."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from paycore.client.keys import new_key
from paycore.v1 import money_pb2, transfer_pb2, transfer_service_pb2

CURRENCY = "EUR"
LARGEST_AMOUNT = 100
"""Minor units: below any step-up threshold and far below what accounts are funded with."""

Request = transfer_service_pb2.SubmitTransferRequest


class Orders:
    """A source of transfers between random pairs of accounts."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def key(self) -> str:
        """As the client of this repository makes them: the index has those of one time together."""
        return new_key(time.time_ns() // 1_000, self._chance.getrandbits)

    def transfer(self, accounts: Sequence[int]) -> Request:
        debit, credit = self._chance.sample(accounts, 2)
        return self._request(transfer_pb2.TRANSFER_KIND_TRANSFER, debit, credit, self._amount())

    def deposit(self, source: int, account: int, amount: int) -> Request:
        return self._request(transfer_pb2.TRANSFER_KIND_DEPOSIT, source, account, amount)

    def bulks(self, accounts: Sequence[int], calls: int, batch: int) -> list[bytes]:
        """`calls` serialized SubmitTransfersRequests of `batch` transfers each."""
        return [bulk_request([self.transfer(accounts) for _ in range(batch)]) for _ in range(calls)]

    def payroll(self, accounts: Sequence[int], items: int) -> bytes:
        """A serialized SubmitTransferGroupRequest of one payer and `items` payees."""
        payer, *payees = self._chance.sample(accounts, items + 1)
        return transfer_service_pb2.SubmitTransferGroupRequest(
            idempotency_key=self.key(),
            transfers=[
                transfer_service_pb2.GroupedTransfer(
                    kind=transfer_pb2.TRANSFER_KIND_TRANSFER,
                    debit_account_id=payer,
                    credit_account_id=payee,
                    amount=money_pb2.Money(minor_units=self._amount(), currency=CURRENCY),
                )
                for payee in payees
            ],
        ).SerializeToString()

    def with_new_keys(self, bulk: bytes) -> bytes:
        """A serialized SubmitTransfersRequest again, as if it were new."""
        request = transfer_service_pb2.SubmitTransfersRequest.FromString(bulk)
        for one in request.transfers:
            one.idempotency_key = self.key()
        return request.SerializeToString()

    def pairs(self, accounts: Sequence[int], count: int) -> list[tuple[str, int, int, int]]:
        """Key, debited account, credited account and amount of `count` transfers."""
        found = []
        for _ in range(count):
            debit, credit = self._chance.sample(accounts, 2)
            found.append((self.key(), debit, credit, self._amount()))
        return found

    def shuffled(self, accounts: Sequence[int]) -> list[int]:
        return self._chance.sample(accounts, len(accounts))

    def _amount(self) -> int:
        return self._chance.randint(1, LARGEST_AMOUNT)

    def _request(
        self, kind: transfer_pb2.TransferKind.ValueType, debit: int, credit: int, amount: int
    ) -> Request:
        return Request(
            idempotency_key=self.key(),
            kind=kind,
            debit_account_id=debit,
            credit_account_id=credit,
            amount=money_pb2.Money(minor_units=amount, currency=CURRENCY),
        )


def bulk_request(transfers: Sequence[Request]) -> bytes:
    """A serialized SubmitTransfersRequest."""
    return transfer_service_pb2.SubmitTransfersRequest(transfers=transfers).SerializeToString()


def shares(accounts: Sequence[int], count: int) -> list[Sequence[int]]:
    """`accounts` in `count` disjoint parts of about equal size."""
    return [accounts[part::count] for part in range(count)]
