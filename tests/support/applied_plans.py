"""What the tables do with the transfers of a plan: apply each to its accounts, in order."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping

from paycore.domain.accounts import Account, AccountId
from paycore.domain.money import Minor
from paycore.domain.transfers import Transfer, TransferKind


def apply_transfers(
    accounts: MutableMapping[AccountId, Account], transfers: Iterable[Transfer]
) -> None:
    """Change `accounts` as `transfers` say, which must follow on them without a gap."""
    for row in transfers:
        debit, credit = accounts[row.debit_account], accounts[row.credit_account]
        moved = 0 if row.credit_version is None else row.amount
        held = debit.held + _held_change(row)
        assert row.debit_version == debit.version + 1
        assert row.debit_balance_after == debit.balance - moved
        assert row.debit_held_after == held
        assert row.created_at_us > debit.last_entry_us
        accounts[debit.id] = debit._replace(
            balance=row.debit_balance_after,
            held=Minor(held),
            version=row.debit_version,
            last_entry_us=row.created_at_us,
        )
        if row.credit_version is not None and row.credit_balance_after is not None:
            assert row.credit_version == credit.version + 1
            assert row.credit_balance_after == credit.balance + moved
            assert row.created_at_us > credit.last_entry_us
            accounts[credit.id] = credit._replace(
                balance=row.credit_balance_after,
                version=row.credit_version,
                last_entry_us=row.created_at_us,
            )


def _held_change(row: Transfer) -> int:
    match row.kind:
        case TransferKind.HOLD:
            return row.amount
        case TransferKind.RELEASE:
            return -row.amount
        case TransferKind.CAPTURE:
            return -(row.amount + (row.released or 0))
        case _:
            return 0
