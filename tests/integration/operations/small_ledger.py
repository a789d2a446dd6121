"""A ledger of a few rows that is whole, written without the services, to be broken by tests."""

from typing import Any

import asyncpg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from operations.verify import Report, verify_ledger
from operations.verify.scope import Since
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
HOLD, CAPTURED, RELEASED = 30, 31, 32
SPARE_HOLD = 33
REFUNDED, REVERSED = 34, 35
GROUP, FIRST, SECOND = 40, 41, 42
KEY_ID = "sign-1"
START_US = 1_790_000_000_000_000


class SmallLedger:
    """Cash deposits 1000 with Ada, who pays Bob 100, then 400 with her PIN; 900 is declined."""

    def __init__(
        self, connection: asyncpg.Connection, audit_dsn: str, signer: Ed25519PrivateKey
    ) -> None:
        """`signer` signs the authorization, or has signed it where the ledger is filled already."""
        self._connection = connection
        self._audit_dsn = audit_dsn
        self._signer = signer

    @property
    def keys(self) -> dict[str, bytes]:
        return {KEY_ID: self._signer.public_key().public_bytes_raw()}

    async def tamper(self, *statements: str) -> None:
        """Run `statements` as a superuser whom no trigger stops, and leave no trace of that."""
        async with self._connection.transaction():
            triggers = await self._connection.fetch(
                "SELECT tgrelid::regclass::text AS place, tgname AS name FROM pg_trigger"
                " WHERE tgenabled = 'A' AND tgrelid::regclass::text LIKE 'ledger.%'"
            )
            for trigger in triggers:
                await self.run(f"ALTER TABLE {trigger['place']} DISABLE TRIGGER {trigger['name']}")
            for statement in statements:
                await self.run(statement)
            for trigger in triggers:
                await self.run(
                    f"ALTER TABLE {trigger['place']} ENABLE ALWAYS TRIGGER {trigger['name']}"
                )

    async def run(self, sql: str, *values: Any) -> None:
        """Run a statement as the superuser, with the tables' own rules in force."""
        await self._connection.execute(sql, *values)

    async def fetch(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        """Read as the superuser."""
        rows: list[asyncpg.Record] = await self._connection.fetch(sql, *values)
        return rows

    async def verify(self, since: Since = None) -> Report:
        return await verify_ledger(self._audit_dsn, authorization_keys=self.keys, since=since)

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

    async def fill_children(self) -> None:
        """Bob holds 200 for Ada: 50 are captured, the rest is released; 30 more stay held. Then Ada
        refunds 40 of the first payment, the deposit's second half comes back, and a group is paid.
        """
        async with self._connection.transaction():
            await self._row(HOLD, "HOLD", BOB, ADA, 200, (3, None), (500, None), 200)
            await self._row(
                CAPTURED, "CAPTURE", BOB, ADA, 50, (4, 4), (450, 550), 150,
                parent=HOLD, sequence=1, remaining=150, state="PARTIALLY_CAPTURED",
            )  # fmt: skip
            await self._row(
                RELEASED, "RELEASE", BOB, ADA, 150, (5, None), (450, None), 0,
                parent=HOLD, sequence=2, remaining=0, state="RELEASED",
            )  # fmt: skip
            await self._row(SPARE_HOLD, "HOLD", BOB, ADA, 30, (6, None), (450, None), 30)
            for transfer in (HOLD, CAPTURED, RELEASED, SPARE_HOLD):
                await self._key(f"pay-{transfer}", "TRANSFER", transfer, 103)
            await self._journal(103, transfers=[HOLD, CAPTURED, RELEASED, SPARE_HOLD])
        async with self._connection.transaction():
            await self._row(
                REFUNDED, "REFUND", BOB, ADA, 40, (7, 5), (410, 590), 30,
                parent=PAID, sequence=1, remaining=60, state="PARTIALLY_REFUNDED",
            )  # fmt: skip
            await self._row(
                REVERSED, "REVERSAL", ADA, BOB, 50, (6, 8), (540, 460), 0,
                parent=CAPTURED, sequence=1, remaining=0, state="REVERSED",
            )  # fmt: skip
            for transfer in (REFUNDED, REVERSED):
                await self._key(f"pay-{transfer}", "TRANSFER", transfer, 104)
            await self._journal(104, transfers=[REFUNDED, REVERSED])
        async with self._connection.transaction():
            await self._row(FIRST, "TRANSFER", ADA, BOB, 10, (7, 9), (530, 470), 0, group=GROUP)
            await self._row(SECOND, "FEE", ADA, BOB, 5, (8, 10), (525, 475), 0, group=GROUP)
            await self.run(
                "INSERT INTO ledger.transfer_groups (id, created_at_us, client, transfers)"
                " VALUES ($1, $2, 'app', $3)",
                GROUP,
                START_US + GROUP,
                [FIRST, SECOND],
            )
            await self._key("group", "GROUP", GROUP, 105)
            await self._journal(105, transfers=[FIRST, SECOND])

    async def pay_more(self, transfer: int, journal_id: int, versions: tuple[int, int]) -> None:
        """Ada pays Bob 1 more; `versions` are theirs before it."""
        balances = await self._connection.fetch(
            "SELECT balance FROM ledger.accounts WHERE id IN ($1, $2) ORDER BY id", ADA, BOB
        )
        async with self._connection.transaction():
            await self._row(
                transfer, "TRANSFER", ADA, BOB, 1, (versions[0] + 1, versions[1] + 1),
                (balances[0][0] - 1, balances[1][0] + 1), 0,
            )  # fmt: skip
            await self._key(f"pay-{transfer}", "TRANSFER", transfer, journal_id)
            await self._journal(journal_id, transfers=[transfer])

    async def _row(
        self,
        transfer: int,
        kind: str,
        debit: int,
        credit: int,
        amount: int,
        versions: tuple[int, int | None],
        balances: tuple[int, int | None],
        held: int,
        *,
        parent: int | None = None,
        sequence: int | None = None,
        remaining: int | None = None,
        state: str | None = None,
        group: int | None = None,
    ) -> None:
        await self.run(
            "INSERT INTO ledger.transfers (id, kind, debit_account, credit_account, amount,"
            " debit_version, credit_version, debit_balance_after, credit_balance_after,"
            " debit_held_after, created_at_us, step_up, currency, client, parent_id,"
            " parent_sequence, parent_remaining, parent_state, group_id)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $17, 'EUR', 'app',"
            " $12, $13, $14, $15, $16)",
            transfer,
            kind,
            debit,
            credit,
            amount,
            *versions,
            *balances,
            held,
            START_US + transfer,
            parent,
            sequence,
            remaining,
            state,
            group,
            _basis(kind),
        )

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
            _basis(kind) if authorization is None else "AUTHORIZED",
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


def _basis(kind: str) -> str:
    """Why a transfer of that kind was let through without approval."""
    guarded = ("TRANSFER", "WITHDRAWAL", "HOLD", "FEE")
    return "BELOW_THRESHOLD" if kind in guarded else "NOT_APPLICABLE"
