"""A service, or a client, that an attacker has taken over: what its credentials, its certificate
and its memory do not give."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import grpc
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from command_service.admission.signer import SignerClient
from command_service.admission.signer_keys import AuthorizationKeys
from deploy.local import LocalStack
from deploy.local.endpoints import DATABASE, with_place
from operations.verify import verify_ledger
from operations.verify.rules import RULES
from paycore.client import Money, StepUpBasis, TransferKind, TransferOrder
from paycore.client.sealing import SealingKey
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.pin import Pin
from paycore.domain.step_up import (
    AUTHORIZATION_LIFETIME_US,
    Authorization,
    AuthorizationMethod,
    PaymentIntent,
    payment_digest,
    signed_bytes,
)
from paycore.runtime.channel import SEPARATE_CONNECTION, open_channel
from paycore.runtime.clock import SystemClock
from paycore.runtime.errors import from_rpc_error
from paycore.signing.v1 import signing_service_pb2 as pb
from paycore.signing.v1 import signing_service_pb2_grpc as pb_grpc
from paycore.v1 import money_pb2, step_up_pb2, transfer_pb2
from paycore.v1 import transfer_service_pb2 as transfers_pb
from tests.support import callers as calls
from tests.support.callers import TIMEOUT_S, Caller, raw, refusal_of
from tests.support.command_core import command_core, payment
from tests.support.databases import OwnDatabase
from tests.support.load import patient_client

TAKEN_OVER = ("command", "projector", "query")
ROLES = ("owner", "command", "signing", "projector", "query", "audit")
NOT_FOR_IT = (
    asyncpg.InsufficientPrivilegeError,
    # What nobody may do, or what is said to whoever is no superuser.
    asyncpg.RestrictViolationError,
    asyncpg.UndefinedFunctionError,
)

BEYOND_THE_TABLES = (
    # The server's own secrets, files and programs.
    "SELECT rolpassword FROM pg_catalog.pg_authid",
    "SELECT passwd FROM pg_catalog.pg_shadow",
    "SELECT * FROM pg_catalog.pg_largeobject",
    "SELECT * FROM pg_catalog.pg_statistic",
    "SELECT * FROM pg_catalog.pg_hba_file_rules",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY ledger.accounts FROM PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/out'",
    "CREATE TEMP TABLE lines (line text); COPY lines FROM '/etc/passwd'",
    "SELECT pg_catalog.pg_read_file('/etc/passwd')",
    "SELECT pg_catalog.pg_read_binary_file('postgresql.conf')",
    "SELECT pg_catalog.pg_ls_dir('.')",
    "SELECT pg_catalog.pg_ls_waldir()",
    "SELECT pg_catalog.pg_stat_file('postgresql.conf')",
    "SELECT pg_catalog.lo_import('/etc/passwd')",
    "SELECT pg_catalog.lo_export(1, '/tmp/out')",
    "SELECT pg_catalog.pg_switch_wal()",
    "SELECT pg_catalog.pg_backup_start('x')",
    "SELECT pg_catalog.pg_create_physical_replication_slot('x')",
    "SELECT pg_catalog.pg_create_logical_replication_slot('x', 'pgoutput')",
    "SELECT pg_catalog.pg_reload_conf()",
    # More than it is.
    *(f"SET ROLE paycore_{role}" for role in ("owner", "signing", "audit")),
    "SET SESSION AUTHORIZATION paycore_signing",
    "SET session_replication_role = replica",
    "ALTER ROLE paycore_signing PASSWORD 'mine'",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "CREATE ROLE mine SUPERUSER",
    "GRANT paycore_signing TO CURRENT_USER",
    "GRANT SELECT ON signing.pins TO CURRENT_USER",
    "REASSIGN OWNED BY paycore_owner TO CURRENT_USER",
    # Code of its own where others run it, and ways out.
    *(
        f"CREATE FUNCTION {schema}.mine() RETURNS int LANGUAGE sql RETURN 1"
        for schema in ("ledger", "signing", "audit", "projection", "public", "pg_catalog")
    ),
    "CREATE OR REPLACE FUNCTION ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql"
    " AS 'BEGIN RETURN NULL; END'",
    "CREATE TRIGGER mine BEFORE INSERT ON ledger.transfers"
    " FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change()",
    "ALTER TABLE ledger.transfers DISABLE TRIGGER ALL",
    "ALTER TABLE ledger.audit DISABLE TRIGGER append_only",
    "CREATE RULE mine AS ON INSERT TO ledger.audit DO INSTEAD NOTHING",
    "CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION ledger.refuse_change()",
    "CREATE EXTENSION postgres_fdw SCHEMA public",
    "CREATE PUBLICATION mine FOR ALL TABLES",
    "CREATE SUBSCRIPTION mine CONNECTION 'host=127.0.0.1' PUBLICATION p WITH (connect = false)",
    # Traces.
    "UPDATE ledger.audit SET client = 'operator'",
    "DELETE FROM ledger.audit",
    "TRUNCATE ledger.audit",
    "INSERT INTO ledger.audit SELECT * FROM ledger.audit",
    "SELECT ledger.write_audit('a', 's', NULL, NULL)",
    "SELECT * FROM audit.events",
    "UPDATE audit.events SET client = 'operator'",
    "DELETE FROM audit.events",
    "TRUNCATE audit.events",
    "DROP TABLE audit.events",
    "INSERT INTO audit.events (event, first_us, last_us, database_user) VALUES ('E', 1, 1, 'x')",
    "SELECT * FROM audit.trail",
)


def on_table(table: str) -> tuple[str, ...]:
    return (
        f"SELECT FROM {table}",
        f"INSERT INTO {table} DEFAULT VALUES",
        f"UPDATE {table} SET {{column}} = {{column}}",
        f"DELETE FROM {table}",
        f"TRUNCATE {table}",
        f"COPY {table} TO STDOUT",
        f"ALTER TABLE {table} ADD COLUMN mine int",
        f"DROP TABLE {table}",
        f"LOCK TABLE {table}",
    )


def of_signing(admin_dsn: str) -> list[str]:
    """Every way at every table, sequence and function of the signing schema, as it is now."""
    with psycopg.connect(admin_dsn) as admin:
        tables = admin.execute(
            "SELECT oid::regclass::text, (SELECT min(attname) FROM pg_attribute"
            "  WHERE attrelid = pg_class.oid AND attnum > 0 AND attidentity = '')"
            " FROM pg_class WHERE relnamespace = 'signing'::regnamespace AND relkind = 'r'"
        ).fetchall()
        sequences = admin.execute(
            "SELECT oid::regclass::text FROM pg_class"
            " WHERE relnamespace = 'signing'::regnamespace AND relkind = 'S'"
        ).fetchall()
        functions = admin.execute(
            "SELECT proname, pronargs FROM pg_proc WHERE pronamespace = 'signing'::regnamespace"
            " AND prorettype <> 'trigger'::regtype"
        ).fetchall()
    assert len(tables) > 5
    assert functions
    return [
        *(sql.format(column=column) for table, column in tables for sql in on_table(table)),
        *(f"SELECT nextval('{name}')" for (name,) in sequences),
        *(f"SELECT signing.{name}({', '.join(['NULL'] * many)})" for name, many in functions),
    ]


@pytest.mark.parametrize("service", TAKEN_OVER)
async def test_its_database_role_reaches_nothing_of_the_signer_or_the_server(
    services: LocalStack, service: str
) -> None:
    endpoints = services.endpoints
    admin_dsn = with_place(endpoints.postgres_admin_dsn, database=DATABASE)
    connection = await asyncpg.connect(endpoints.postgres_dsn[f"paycore_{service}"])
    allowed = []
    try:
        await connection.execute("SET default_transaction_read_only = off")
        for sql in (*of_signing(admin_dsn), *BEYOND_THE_TABLES):
            attempt = connection.transaction()
            await attempt.start()
            try:
                await connection.execute(sql)
            except NOT_FOR_IT:
                pass
            else:
                allowed.append(sql)
            finally:
                await attempt.rollback()
        with pytest.raises(NOT_FOR_IT):
            await connection.execute("ALTER SYSTEM SET log_statement = 'all'")
    finally:
        await connection.close()
    assert allowed == []


@pytest.mark.parametrize("service", TAKEN_OVER)
async def test_its_session_sees_nothing_of_what_the_signers_sessions_do(
    services: LocalStack, service: str
) -> None:
    endpoints = services.endpoints
    signer = await asyncpg.connect(endpoints.postgres_dsn["paycore_signing"])
    connection = await asyncpg.connect(endpoints.postgres_dsn[f"paycore_{service}"])
    try:
        pid = await signer.fetchval("SELECT pg_backend_pid() /* canary */")
        seen = await connection.fetchval("SELECT query FROM pg_stat_activity WHERE pid = $1", pid)
        assert seen == "<insufficient privilege>"
        assert await connection.fetch("SELECT FROM pg_stats WHERE schemaname = 'signing'") == []
        for act in ("pg_cancel_backend", "pg_terminate_backend"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetchval(f"SELECT {act}($1)", pid)
        with pytest.raises(asyncpg.PostgresError):
            # A temporary function of the same name is not what the tables' functions call.
            await connection.execute(
                "CREATE FUNCTION pg_temp.now_us() RETURNS bigint LANGUAGE sql RETURN 1;"
                " SELECT signing.now_us()"
            )
    finally:
        await connection.close()
        await signer.close()


@pytest.fixture
async def channel(services: LocalStack) -> AsyncIterator[grpc.aio.Channel]:
    """What the command service has to the signing service."""
    endpoints = services.endpoints
    target, files = endpoints.target("signing"), endpoints.tls["command"]
    async with open_channel(target, files, SEPARATE_CONNECTION, service="signing") as channel:
        yield channel


async def test_its_certificate_opens_three_methods_of_the_signer(channel: grpc.aio.Channel) -> None:
    methods = pb.DESCRIPTOR.services_by_name["SigningService"].methods
    denied = []
    for method in methods:
        try:
            await raw(channel, f"/{method.containing_service.full_name}/{method.name}")(
                b"", timeout=TIMEOUT_S
            )
        except grpc.aio.AioRpcError as refused:
            error = from_rpc_error(refused)
            if error is not None and error.reason is Reason.NOT_PERMITTED:
                denied.append(method.name)
    allowed = {method.name for method in methods} - set(denied)
    assert allowed == {"Authorize", "AuthorizeStream", "GetPublicKeys"}


@pytest.fixture
async def sealed_to(services: LocalStack) -> AsyncIterator[tuple[str, Pin, SealingKey]]:
    """A user with a PIN, enrolled by an ordinary caller, and the key to seal it to."""
    endpoints = services.endpoints
    user, pin = f"user-{secrets.token_hex(6)}", Pin("508263")
    target, files = endpoints.target("signing"), endpoints.tls["app"]
    async with open_channel(target, files, SEPARATE_CONNECTION, service="signing") as channel:
        stub: Any = pb_grpc.SigningServiceStub(channel)
        keys = (await stub.GetPublicKeys(pb.GetPublicKeysRequest(), timeout=TIMEOUT_S)).keys
        (key,) = [one for one in keys if one.purpose == pb.KEY_PURPOSE_SEALING and one.current]
        sealing = SealingKey(key.key_id, key.public_key)
        sealed = sealing.for_enrolment(pin, user)
        await stub.EnrollPin(
            pb.EnrollPinRequest(user_id=user, sealed_pin=step_up_pb2.SealedPin(**sealed._asdict())),
            timeout=TIMEOUT_S,
        )
        yield user, pin, sealing


def intent() -> PaymentIntent:
    return PaymentIntent(
        "TRANSFER", 11, 12, 900_000, "EUR", "app", secrets.token_hex(8), time.time_ns() // 1_000
    )


CHANGES: dict[str, Any] = {
    "kind": "WITHDRAWAL",
    "debit_account": 13,
    "credit_account": 666,
    "amount": 900_001,
    "currency": "USD",
    "client": "loadtest",
    "idempotency_key": "another",
    "signed_at_us": 1,
}
"""What an attacker would rather have approved, field by field; `signed_at_us` is added."""


async def test_with_a_payers_sealed_pin_in_hand_it_gets_that_payment_approved_and_no_other(
    channel: grpc.aio.Channel, sealed_to: tuple[str, Pin, SealingKey]
) -> None:
    user, pin, sealing = sealed_to
    approved = intent()
    proof = sealing.for_payment(pin, approved)
    signer = SignerClient(channel, SystemClock())

    def due() -> float:
        return SystemClock().monotonic_s() + TIMEOUT_S

    for name, value in CHANGES.items():
        if name == "signed_at_us":
            value += approved.signed_at_us
        other = approved._replace(**{name: value})
        with pytest.raises(PaycoreError) as refused:
            await signer.authorize(user, other, proof, due())
        assert refused.value.reason is Reason.AUTHORIZATION_INVALID, name
    with pytest.raises(PaycoreError) as refused:
        await signer.authorize("user-other", approved, proof, due())
    assert refused.value.reason in {Reason.PIN_INCORRECT, Reason.AUTHORIZATION_INVALID}
    granted = await signer.authorize(user, approved, proof, due())
    assert granted.digest == payment_digest(approved)
    again = await signer.authorize(user, approved, proof, due())
    assert again == granted


def forged(user: str, key_id: str, approved: PaymentIntent) -> Authorization:
    """All that it should say, signed by a key of the attacker's."""
    now_us = approved.signed_at_us
    unsigned = Authorization(
        id=4_711,
        user_id=user,
        method=AuthorizationMethod.PIN,
        digest=payment_digest(approved),
        issued_at_us=now_us,
        expires_at_us=now_us + AUTHORIZATION_LIFETIME_US,
        key_id=key_id,
        signature=b"",
        signed_at_us=now_us,
    )
    signature = Ed25519PrivateKey.generate().sign(signed_bytes(unsigned))
    return unsigned._replace(signature=signature)


THRESHOLD = 100_000
"""Of the local stack, in EUR."""


def fees(
    payer: int, payee: int, amount: int, count: int
) -> transfers_pb.SubmitTransferGroupRequest:
    """A group of `count` fees of `amount` each."""
    fee = transfers_pb.GroupedTransfer(
        kind=transfer_pb2.TRANSFER_KIND_FEE,
        debit_account_id=payer,
        credit_account_id=payee,
        amount=money_pb2.Money(minor_units=amount, currency="EUR"),
    )
    return transfers_pb.SubmitTransferGroupRequest(
        idempotency_key=secrets.token_hex(12), transfers=[fee] * count
    )


async def test_a_client_takes_no_more_than_the_threshold_by_a_fee_that_nobody_approved(
    services: LocalStack, app: Caller
) -> None:
    user, pin = f"user-{secrets.token_hex(6)}", Pin("508263")
    outside, victim, own = await app.open(2, owner=user)
    await app.fund(outside, [victim], 20 * THRESHOLD, "EUR")
    fee, settlement = transfer_pb2.TRANSFER_KIND_FEE, transfer_pb2.TRANSFER_KIND_NET_SETTLEMENT

    def taking(amount: int, kind: transfer_pb2.TransferKind.ValueType) -> Any:
        return app.submit(calls.payment(victim, own, amount, kind=kind))

    attempts = {
        "at once": (taking(10 * THRESHOLD, fee), "STEP_UP_REQUIRED"),
        "a little above": (taking(THRESHOLD + 1, fee), "STEP_UP_REQUIRED"),
        "in pieces": (
            app.transfers.SubmitTransferGroup(fees(victim, own, THRESHOLD, 10), timeout=TIMEOUT_S),
            "STEP_UP_REQUIRED",
        ),
        "settled": (taking(THRESHOLD + 1, settlement), "NOT_PERMITTED"),
    }
    for name, (attempt, reason) in attempts.items():
        refused = await refusal_of(attempt)
        assert refused is not None, name
        assert refused.reason == reason, name
    taken = await taking(THRESHOLD, fee)
    assert taken.transfer.step_up_basis == transfer_pb2.STEP_UP_BASIS_BELOW_THRESHOLD
    assert taken.transfer.debit_balance_after == 19 * THRESHOLD
    async with patient_client(services.endpoints, "app") as client:
        await client.enroll_pin(user, pin)
        order = TransferOrder(victim, own, Money(10 * THRESHOLD, "EUR"), TransferKind.FEE)
        receipt = await client.submit_transfer(order, pin=pin)
    assert receipt.transfer.step_up_basis is StepUpBasis.AUTHORIZED


async def published(channel: grpc.aio.Channel) -> dict[str, bytes]:
    stub: Any = pb_grpc.SigningServiceStub(channel)
    keys = (await stub.GetPublicKeys(pb.GetPublicKeysRequest(), timeout=TIMEOUT_S)).keys
    return {
        one.key_id: one.public_key for one in keys if one.purpose == pb.KEY_PURPOSE_AUTHORIZATION
    }


async def test_an_authorization_of_its_own_making_is_refused(channel: grpc.aio.Channel) -> None:
    keys = await published(channel)

    async def fetch() -> dict[str, bytes]:
        return keys

    verifier = AuthorizationKeys(fetch, SystemClock())
    for key_id in (*keys, "authorization-mine"):
        with pytest.raises(PaycoreError) as refused:
            await verifier.verify(forged("someone", key_id, intent()))
        assert refused.value.reason is Reason.AUTHORIZATION_INVALID


async def test_one_that_it_writes_into_the_ledger_itself_is_found_by_verification(
    channel: grpc.aio.Channel, database: OwnDatabase
) -> None:
    keys = await published(channel)
    (key_id, *_) = keys
    async with command_core(database.dsn("command")) as core:
        _, payer, payee = await core.open(2, balance=10_000_000)
        command = payment(payer, payee, 900_000)
        approved = PaymentIntent(
            command.kind.value,
            payer,
            payee,
            command.amount,
            command.currency,
            command.client,
            command.key,
            core.clock.now_us(),
        )
        await core.submit(command._replace(authorization=forged("someone", key_id, approved)))
    report = await verify_ledger(database.dsn("audit"), authorization_keys=keys)
    assert not report.check(RULES["signatures"].text).held
    assert not report.held
