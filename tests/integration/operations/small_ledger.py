"""A ledger of a few rows that is whole, written without the services, to be broken by tests."""

from typing import Any

import asyncpg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from operations.verify import Report, verify_ledger
from paycore.domain.step_up import (
    Authorization,
    AuthorizationMethod,
    PaymentIntent,
    payment_digest,
    signed_bytes,
)

CASH, ADA, BOB = 1, 2, 3
DEPOSITED, PAID, APPROVED = 10, 11, 12
DECLINED = 13
AUTHORIZATION = 20
GUARDED = (
    "accounts", "transfers", "declines", "authorizations", "idempotency_keys", "journal",
)  # fmt: skip
KEY_ID = "sign-1"
START_US = 1_790_000_000_000_000


class SmallLedger:
    """Cash deposits 1000 with Ada, who pays Bob 100, then 400 with her PIN; 900 is declined."""

    def __init__(self, connection: asyncpg.Connection, audit_dsn: str) -> None:
        self._connection = connection
        self._audit_dsn = audit_dsn
        self._signer = Ed25519PrivateKey.generate()

    @property
    def keys(self) -> dict[str, bytes]:
        return {KEY_ID: self._signer.public_key().public_bytes_raw()}

    async def disarm(self) -> None:
        """Turn the tables' triggers off, as only a superuser or their owner can."""
        for table in GUARDED:
            await self.run(f"ALTER TABLE ledger.{table} DISABLE TRIGGER USER")

    async def run(self, sql: str, *values: Any) -> None:
        """Break something."""
        await self._connection.execute(sql, *values)

    async def allow(self, table: str, *constraints: str) -> None:
        """Take away what would refuse the damage."""
        for constraint in constraints:
            await self.run(f"ALTER TABLE ledger.{table} DROP CONSTRAINT {constraint}")

    async def verify(self) -> Report:
        return await verify_ledger(self._audit_dsn, authorization_keys=self.keys)

    async def fill(self) -> None:
        async with self._connection.transaction():
            await self._open()
        async with self._connection.transaction():
            await self._transfer(DEPOSITED, "DEPOSIT", CASH, ADA, 1000, (1, 1), (-1000, 1000))
            await self._transfer(PAID, "TRANSFER", ADA, BOB, 100, (2, 1), (900, 100))
            await self._journal(101, transfers=[DEPOSITED, PAID])
        async with self._connection.transaction():
            await self._authorize()
            await self._transfer(
                APPROVED, "TRANSFER", ADA, BOB, 400, (3, 2), (500, 500), AUTHORIZATION
            )
            await self._decline()
            await self._journal(102, transfers=[APPROVED], declines=[DECLINED])
        await self._settle()

    async def _open(self) -> None:
        for account, kind, owner in (
            (CASH, "EXTERNAL", "till"),
            (ADA, "CUSTOMER", "ada"),
            (BOB, "CUSTOMER", "bob"),
        ):
            await self.run(
                "INSERT INTO ledger.accounts"
                " (id, kind, currency, owner, institution, opened_by, created_at_us)"
                " VALUES ($1, $2, 'EUR', $3, 'Nordbank', 'app', $4)",
                account,
                kind,
                owner,
                START_US,
            )
            await self._key(f"open-{account}", "ACCOUNT", account, 100)
        await self._journal(100, accounts=[CASH, ADA, BOB])

    async def _transfer(
        self,
        transfer: int,
        kind: str,
        debit: int,
        credit: int,
        amount: int,
        versions: tuple[int, int],
        balances: tuple[int, int],
        authorization: int | None = None,
    ) -> None:
        await self.run(
            "INSERT INTO ledger.transfers (id, kind, debit_account, credit_account, amount,"
            " debit_version, credit_version, debit_balance_after, credit_balance_after,"
            " debit_held_after, created_at_us, authorization_id, step_up, currency, client,"
            " details_hash)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $11, $12, 'EUR', 'app', $13)",
            transfer,
            kind,
            debit,
            credit,
            amount,
            *versions,
            *balances,
            START_US + transfer,
            authorization,
            "BELOW_THRESHOLD" if authorization is None else "AUTHORIZED",
            b"hash",
        )
        await self.run(
            "INSERT INTO ledger.transfer_details (id, description) VALUES ($1, 'rent')", transfer
        )
        await self._key(f"pay-{transfer}", "TRANSFER", transfer, 102 if authorization else 101)

    async def _authorize(self) -> None:
        intent = PaymentIntent("TRANSFER", ADA, BOB, 400, "EUR", "app", f"pay-{APPROVED}", START_US)
        unsigned = Authorization(
            id=AUTHORIZATION,
            user_id="ada",
            method=AuthorizationMethod.PIN,
            digest=payment_digest(intent),
            issued_at_us=START_US,
            expires_at_us=START_US + 120_000_000,
            key_id=KEY_ID,
            signature=b"",
            signed_at_us=START_US,
        )
        await self.run(
            "INSERT INTO ledger.authorizations (id, transfer_id, signed_at_us, issued_at_us,"
            " expires_at_us, user_id, method, client, idempotency_key, key_id, digest, signature)"
            " VALUES ($1, $2, $3, $4, $5, 'ada', 'PIN', 'app', $6, $7, $8, $9)",
            AUTHORIZATION,
            APPROVED,
            unsigned.signed_at_us,
            unsigned.issued_at_us,
            unsigned.expires_at_us,
            intent.idempotency_key,
            KEY_ID,
            unsigned.digest,
            self._signer.sign(signed_bytes(unsigned)),
        )

    async def _decline(self) -> None:
        await self.run(
            "INSERT INTO ledger.declines (id, debit_account, credit_account, amount,"
            " created_at_us, kind, currency, client, reason, figures)"
            " VALUES ($1, $2, $3, 900, $4, 'TRANSFER', 'EUR', 'app', 'INSUFFICIENT_FUNDS', '{}')",
            DECLINED,
            ADA,
            BOB,
            START_US + DECLINED,
        )
        await self._key(f"pay-{DECLINED}", "DECLINE", DECLINED, 102)

    async def _key(self, key: str, outcome: str, outcome_id: int, journal_id: int) -> None:
        await self.run(
            "INSERT INTO ledger.idempotency_keys"
            " (client, key, outcome, outcome_id, journal_id, request_hash)"
            " VALUES ('app', $1, $2, $3, $4, $5)",
            key,
            outcome,
            outcome_id,
            journal_id,
            b"hash",
        )

    async def _journal(self, journal_id: int, **ids: list[int]) -> None:
        await self.run(
            "INSERT INTO ledger.journal (id, created_at_us, transfers, declines, accounts)"
            " VALUES ($1, $2, $3, $4, $5)",
            journal_id,
            START_US + journal_id,
            ids.get("transfers", []),
            ids.get("declines", []),
            ids.get("accounts", []),
        )

    async def _settle(self) -> None:
        for account, balance, version, last in (
            (CASH, -1000, 1, DEPOSITED),
            (ADA, 500, 3, APPROVED),
            (BOB, 500, 2, APPROVED),
        ):
            await self.run(
                "UPDATE ledger.accounts SET balance = $2, version = $3, last_entry_us = $4"
                " WHERE id = $1",
                account,
                balance,
                version,
                START_US + last,
            )
