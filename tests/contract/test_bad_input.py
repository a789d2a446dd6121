"""Bad input: its code and reason, the field to blame, and no trace of it but a stored decline."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from paycore.domain.position import Position
from paycore.runtime.errors import from_status
from paycore.v1 import (
    account_pb2,
    actor_pb2,
    analytics_service_pb2,
    history_service_pb2,
    step_up_pb2,
    transfer_pb2,
)
from paycore.v1 import account_service_pb2 as accounts_pb2
from paycore.v1 import transfer_service_pb2 as transfers_pb2
from tests.contract.conftest import World
from tests.support.callers import (
    TIMEOUT_S,
    Caller,
    Callers,
    Refusal,
    answered,
    opening,
    payment,
    refusal_of,
)
from tests.support.ledger_checks import counts

DECLINE = {"declines": 1, "idempotency_keys": 1, "journal": 1}
"""All that a stored decline leaves."""

INVALID = grpc.StatusCode.INVALID_ARGUMENT
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
NOT_FOUND = grpc.StatusCode.NOT_FOUND
DENIED = grpc.StatusCode.PERMISSION_DENIED

Ask = Callable[[Caller, World], Awaitable[object]]


@dataclass(frozen=True)
class Case:
    """One bad request and all that may come of it."""

    name: str
    ask: Ask
    code: grpc.StatusCode
    reason: str
    fields: tuple[str, ...] = ()
    writes: dict[str, int] = field(default_factory=dict)
    metadata: tuple[str, ...] = ()
    """Keys that explain the refusal."""


def transfer(name: str, *fields: str, **changes: Any) -> Case:
    """A payment that would post but for `changes`."""

    async def ask(app: Caller, world: World) -> object:
        return await app.submit(payment(world.payer, world.payee, 1, **changes))

    return Case(name, ask, INVALID, "INVALID_FIELD", fields)


def amount(name: str, units: int, *fields: str, currency: str = "EUR") -> Case:
    """A payment of an amount that there cannot be."""

    async def ask(app: Caller, world: World) -> object:
        return await app.submit(payment(world.payer, world.payee, units, currency=currency))

    return Case(name, ask, INVALID, "INVALID_FIELD", fields)


def account(name: str, *fields: str, **changes: Any) -> Case:
    """An account that would open but for `changes`."""

    async def ask(app: Caller, _: World) -> object:
        return await app.accounts.CreateAccount(opening(**changes), timeout=TIMEOUT_S)

    return Case(name, ask, INVALID, "INVALID_FIELD", fields)


def between(
    name: str,
    debit: Callable[[World], int],
    credit: Callable[[World], int],
    code: grpc.StatusCode,
    reason: str,
    *metadata: str,
    units: int = 1,
    **more: Any,
) -> Case:
    """A well-formed payment between accounts that do not fit."""
    writes = more.pop("writes", {})

    async def ask(app: Caller, world: World) -> object:
        return await app.submit(payment(debit(world), credit(world), units, **more))

    return Case(name, ask, code, reason, writes=writes, metadata=metadata)


def asked(
    name: str, ask: Ask, code: grpc.StatusCode, reason: str, *fields: str, **more: Any
) -> Case:
    return Case(name, ask, code, reason, fields, **more)


def proof(**changes: Any) -> step_up_pb2.StepUp:
    values: dict[str, Any] = {
        "sign_time": Timestamp(seconds=1),
        "sealed_pin": step_up_pb2.SealedPin(key_id="k", ciphertext=b"c"),
    }
    return step_up_pb2.StepUp(**{**values, **changes})


UNKNOWN = 2**62 + 12_345

FIELDS = (
    # Missing and empty.
    transfer("no key", "idempotency_key", idempotency_key=""),
    transfer("no kind", "kind", kind=transfer_pb2.TRANSFER_KIND_UNSPECIFIED),
    transfer("no debit account", "debit_account_id", debit_account_id=0),
    transfer("no credit account", "credit_account_id", credit_account_id=0),
    asked(
        "no amount",
        lambda app, world: app.submit(
            transfers_pb2.SubmitTransferRequest(
                idempotency_key="k",
                kind=transfer_pb2.TRANSFER_KIND_TRANSFER,
                debit_account_id=world.payer,
                credit_account_id=world.payee,
            )
        ),
        INVALID,
        "INVALID_FIELD",
        "amount.minor_units",
        "amount.currency",
    ),
    asked(
        "nothing at all",
        lambda app, _: app.submit(transfers_pb2.SubmitTransferRequest()),
        INVALID,
        "INVALID_FIELD",
        "idempotency_key",
        "kind",
        "debit_account_id",
        "credit_account_id",
        "amount.minor_units",
        "amount.currency",
    ),
    account("an account without owner", "owner", owner=""),
    account("an account without institution", "institution", institution=""),
    account("an account without currency", "currency", currency=""),
    account("an account without kind", "kind", kind=account_pb2.ACCOUNT_KIND_UNSPECIFIED),
    account("an account without key", "idempotency_key", idempotency_key=""),
    transfer("proof without time", "step_up.sign_time", step_up=proof(sign_time=None)),
    # Oversized.
    transfer("key of 129", "idempotency_key", idempotency_key="k" * 129),
    transfer("reference of 129", "reference", reference="r" * 129),
    transfer("description of 513", "description", description="d" * 513),
    transfer("21 keys of metadata", "metadata", metadata={str(n): "" for n in range(21)}),
    transfer("1,500 keys of metadata", "metadata", metadata={str(n): "" for n in range(1_500)}),
    # More than any request may have is not decoded, so no field is named.
    transfer("thousands of metadata keys", "", metadata={str(n): "" for n in range(5_000)}),
    transfer("metadata key of 65", "metadata", metadata={"k" * 65: ""}),
    transfer("metadata over 4 KiB", "metadata", metadata={"k": "v" * 4_096}),
    transfer("user of 129", "actor.user_id", actor=actor_pb2.Actor(user_id="u" * 129)),
    transfer("device of 129", "actor.device_id", actor=actor_pb2.Actor(device_id="d" * 129)),
    transfer(
        "sealed PIN of 257",
        "step_up.sealed_pin.ciphertext",
        step_up=proof(sealed_pin=step_up_pb2.SealedPin(key_id="k", ciphertext=b"c" * 257)),
    ),
    account("owner of 129", "owner", owner="o" * 129),
    account("institution of 65", "institution", institution="i" * 65),
    # Control characters and what is not text.
    transfer("newline in key", "idempotency_key", idempotency_key="a\nb"),
    transfer("NUL in key", "idempotency_key", idempotency_key="a\x00b"),
    transfer("not ASCII in key", "idempotency_key", idempotency_key="schlüssel"),
    transfer("NUL in description", "description", description="a\x00b"),
    transfer("unit separator in reference", "reference", reference="a\x1fb"),
    transfer("control character in metadata", "metadata", metadata={"k": "a\x07b"}),
    transfer("control character in metadata key", "metadata", metadata={"a\tb": "v"}),
    transfer("escape in user", "actor.user_id", actor=actor_pb2.Actor(user_id="\x1b[0m")),
    transfer("no address", "actor.ip_address", actor=actor_pb2.Actor(ip_address="10.0.0.256")),
    transfer("zone", "actor.ip_address", actor=actor_pb2.Actor(ip_address="fe80::1%eth0")),
    transfer(
        "any text as a zone",
        "actor.ip_address",
        actor=actor_pb2.Actor(ip_address=f"fe80::1%{'x' * 100_000}"),
    ),
    account("delete in owner", "owner", owner="a\x7fb"),
    account("line separator in institution", "institution", institution="a\u2028b"),
    # Amounts and currencies.
    amount("amount zero", 0, "amount.minor_units"),
    amount("amount negative", -1, "amount.minor_units"),
    amount("smallest int64", -(2**63), "amount.minor_units"),
    amount("above the useful range", 2**62 + 1, "amount.minor_units"),
    amount("largest int64", 2**63 - 1, "amount.minor_units"),
    amount("unknown currency", 1, "amount.currency", currency="ZZZ"),
    amount("lower-case currency", 1, "amount.currency", currency="eur"),
    amount("currency with a blank", 1, "amount.currency", currency="EUR "),
    amount("gold, which has no minor unit", 1, "amount.currency", currency="XAU"),
    amount("both parts wrong", 0, "amount.minor_units", "amount.currency", currency="eur"),
    account("account in lower-case currency", "currency", currency="usd"),
    account("negative limit", "overdraft_limit_minor_units", overdraft_limit_minor_units=-1),
    account("limit too high", "overdraft_limit_minor_units", overdraft_limit_minor_units=2**63 - 1),
    account(
        "limit of an external account",
        "overdraft_limit_minor_units",
        overdraft_limit_minor_units=1,
        kind=account_pb2.ACCOUNT_KIND_EXTERNAL,
    ),
    # Values that no enum, id or time has.
    transfer("kind 99", "kind", kind=99),
    account("account kind 99", "kind", kind=99),
    transfer("negative account", "debit_account_id", debit_account_id=-1),
    transfer(
        "time beyond the calendar",
        "effective_time",
        effective_time=Timestamp(seconds=253_402_300_800),
    ),
    transfer("negative nanoseconds", "effective_time", effective_time=Timestamp(nanos=-1)),
    asked(
        "account zero",
        lambda app, _: app.accounts.GetAccount(accounts_pb2.GetAccountRequest(), timeout=TIMEOUT_S),
        INVALID,
        "INVALID_FIELD",
        "account_id",
    ),
    asked(
        "look-up by nothing",
        lambda app, _: app.transfers.LookupTransfer(
            transfers_pb2.LookupTransferRequest(), timeout=TIMEOUT_S
        ),
        INVALID,
        "INVALID_FIELD",
        "reference",
    ),
    # Batches.
    asked(
        "batch of 0",
        lambda app, _: app.transfers.SubmitTransfers(
            transfers_pb2.SubmitTransfersRequest(), timeout=TIMEOUT_S
        ),
        INVALID,
        "INVALID_FIELD",
        "transfers",
    ),
    asked(
        "batch of 1,001",
        lambda app, world: app.transfers.SubmitTransfers(
            transfers_pb2.SubmitTransfersRequest(
                transfers=[payment(world.payer, world.payee, 1) for _ in range(1_001)]
            ),
            timeout=TIMEOUT_S,
        ),
        INVALID,
        "INVALID_FIELD",
        "transfers",
    ),
    asked(
        "0 accounts",
        lambda app, _: app.accounts.CreateAccounts(
            accounts_pb2.CreateAccountsRequest(), timeout=TIMEOUT_S
        ),
        INVALID,
        "INVALID_FIELD",
        "accounts",
    ),
    asked(
        "1,001 accounts",
        lambda app, _: app.accounts.CreateAccounts(
            accounts_pb2.CreateAccountsRequest(accounts=[opening() for _ in range(1_001)]),
            timeout=TIMEOUT_S,
        ),
        INVALID,
        "INVALID_FIELD",
        "accounts",
    ),
    # Deadlines.
    asked(
        "no deadline",
        lambda app, world: app.transfers.SubmitTransfer(payment(world.payer, world.payee, 1)),
        INVALID,
        "DEADLINE_REQUIRED",
    ),
    asked(
        "no deadline on a read",
        lambda app, world: app.history.GetBalance(
            history_service_pb2.GetBalanceRequest(account_id=world.payer)
        ),
        INVALID,
        "DEADLINE_REQUIRED",
    ),
)

LEDGER = (
    between(
        "same account",
        lambda w: w.payer,
        lambda w: w.payer,
        PRECONDITION,
        "SAME_ACCOUNT",
        "account",
    ),
    between(
        "unknown payer", lambda _: UNKNOWN, lambda w: w.payee, NOT_FOUND, "ACCOUNT_NOT_FOUND", "id"
    ),
    between(
        "unknown payee", lambda w: w.payer, lambda _: UNKNOWN, NOT_FOUND, "ACCOUNT_NOT_FOUND", "id"
    ),
    between(
        "wrong currency of both",
        lambda w: w.payer,
        lambda w: w.payee,
        PRECONDITION,
        "CURRENCY_MISMATCH",
        "account",
        "expected",
        "actual",
        currency="USD",
    ),
    between(
        "wrong currency of one",
        lambda w: w.payer,
        lambda w: w.dollars,
        PRECONDITION,
        "CURRENCY_MISMATCH",
        "account",
    ),
    between(
        "frozen payer",
        lambda w: w.frozen,
        lambda w: w.payee,
        PRECONDITION,
        "ACCOUNT_FROZEN",
        "account",
        "state",
        "decline_id",
        writes=DECLINE,
    ),
    between(
        "closed payer",
        lambda w: w.closed,
        lambda w: w.payee,
        PRECONDITION,
        "ACCOUNT_CLOSED",
        "account",
        "decline_id",
        writes=DECLINE,
    ),
    between(
        "closed payee",
        lambda w: w.payer,
        lambda w: w.closed,
        PRECONDITION,
        "ACCOUNT_CLOSED",
        "account",
        "decline_id",
        writes=DECLINE,
    ),
    between(
        "more than there is",
        lambda w: w.payer,
        lambda w: w.payee,
        PRECONDITION,
        "INSUFFICIENT_FUNDS",
        "account",
        "currency",
        "available",
        "requested",
        "decline_id",
        units=50_001,
        writes=DECLINE,
    ),
    between(
        "more than policy allows without proof",
        lambda w: w.payer,
        lambda w: w.payee,
        PRECONDITION,
        "STEP_UP_REQUIRED",
        "account",
        "payee",
        "amount",
        "currency",
        "kind",
        units=100_001,
    ),
    between(
        "transfer to the outside",
        lambda w: w.payer,
        lambda w: w.outside,
        PRECONDITION,
        "ACCOUNT_KIND_MISMATCH",
        "account",
    ),
    between(
        "another client's account",
        lambda w: w.foreign,
        lambda w: w.payee,
        DENIED,
        "NOT_PERMITTED",
        "account",
        "grant",
    ),
    between(
        "another version",
        lambda w: w.payer,
        lambda w: w.payee,
        PRECONDITION,
        "VERSION_MISMATCH",
        "account",
        "expected",
        "actual",
        expected_debit_version=77,
    ),
    asked(
        "reading an unknown account",
        lambda app, _: app.accounts.GetAccount(
            accounts_pb2.GetAccountRequest(account_id=UNKNOWN), timeout=TIMEOUT_S
        ),
        NOT_FOUND,
        "ACCOUNT_NOT_FOUND",
    ),
    asked(
        "reading another client's account",
        lambda app, world: app.accounts.GetAccount(
            accounts_pb2.GetAccountRequest(account_id=world.foreign), timeout=TIMEOUT_S
        ),
        DENIED,
        "NOT_PERMITTED",
    ),
    asked(
        "a key that nobody used",
        lambda app, _: app.transfers.LookupTransfer(
            transfers_pb2.LookupTransferRequest(idempotency_key=secrets.token_hex(8)),
            timeout=TIMEOUT_S,
        ),
        NOT_FOUND,
        "TRANSFER_NOT_FOUND",
    ),
)


def listing(**changes: Any) -> history_service_pb2.ListTransfersRequest:
    return history_service_pb2.ListTransfersRequest(**changes)


def statement(
    account: int, start_s: int = 1, end_s: int = 2, **changes: Any
) -> history_service_pb2.GetStatementRequest:
    request = history_service_pb2.GetStatementRequest(account_id=account, **changes)
    request.start_time.FromSeconds(start_s)
    request.end_time.FromSeconds(end_s)
    return request


QUERIES = (
    asked(
        "made-up page token",
        lambda app, world: app.history.ListTransfers(
            listing(account_id=world.payer, page_token="made up"), timeout=TIMEOUT_S
        ),
        INVALID,
        "INVALID_FIELD",
        "page_token",
    ),
    asked(
        "page of 501",
        lambda app, world: app.history.ListTransfers(
            listing(account_id=world.payer, page_size=501), timeout=TIMEOUT_S
        ),
        INVALID,
        "INVALID_FIELD",
        "page_size",
    ),
    asked(
        "list without account",
        lambda app, _: app.history.ListTransfers(listing(), timeout=TIMEOUT_S),
        INVALID,
        "INVALID_FIELD",
        "account_id",
    ),
    asked(
        "statement without account",
        lambda app, _: app.history.GetStatement(statement(0), timeout=TIMEOUT_S),
        INVALID,
        "INVALID_FIELD",
        "account_id",
    ),
    asked(
        "statement that ends before it starts",
        lambda app, world: app.history.GetStatement(
            statement(world.payer, start_s=9, end_s=8), timeout=TIMEOUT_S
        ),
        INVALID,
        "INVALID_FIELD",
        "end_time",
    ),
    asked(
        "statement with a made-up page token",
        lambda app, world: app.history.GetStatement(
            statement(world.payer, page_token="made up"), timeout=TIMEOUT_S
        ),
        INVALID,
        "INVALID_FIELD",
        "page_token",
    ),
    asked(
        "made-up position",
        lambda app, world: app.history.GetBalance(
            history_service_pb2.GetBalanceRequest(account_id=world.payer, min_position="x" * 28),
            timeout=TIMEOUT_S,
        ),
        INVALID,
        "INVALID_FIELD",
        "min_position",
    ),
    asked(
        "altered position",
        lambda app, world: app.history.GetBalance(
            history_service_pb2.GetBalanceRequest(
                account_id=world.payer, min_position="B" + Position(1, 9, 9).encode()[1:]
            ),
            timeout=TIMEOUT_S,
        ),
        INVALID,
        "INVALID_FIELD",
        "min_position",
    ),
    asked(
        "volume without times",
        lambda app, _: app.analytics.TransferVolume(
            analytics_service_pb2.TransferVolumeRequest(
                interval=analytics_service_pb2.VOLUME_INTERVAL_DAY
            ),
            timeout=TIMEOUT_S,
        ),
        INVALID,
        "INVALID_FIELD",
        "start_time",
        "end_time",
    ),
)


async def assert_refused(
    case: Case, app: Caller, world: World, tables: asyncpg.Connection
) -> Refusal:
    """The case's refusal, after which nothing is there that was not before."""
    before = await counts(tables)
    refusal = await refusal_of(case.ask(app, world))
    assert refusal is not None, "it was accepted"
    assert (refusal.code, refusal.reason) == (case.code, case.reason), refusal
    assert refusal.fields == list(case.fields)
    assert refusal.error is not None
    assert set(case.metadata) <= set(refusal.error.metadata)
    after = await counts(tables)
    written = {table: after[table] - before[table] for table in after}
    assert {table: number for table, number in written.items() if number} == case.writes
    return refusal


@pytest.mark.parametrize("case", FIELDS, ids=lambda case: case.name)
async def test_a_malformed_request_names_its_fields_and_leaves_nothing(
    case: Case, app: Caller, world: World, tables: asyncpg.Connection
) -> None:
    await assert_refused(case, app, world, tables)


@pytest.mark.parametrize("case", LEDGER, ids=lambda case: case.name)
async def test_a_payment_against_the_rules_moves_nothing(
    case: Case, app: Caller, world: World, tables: asyncpg.Connection
) -> None:
    await assert_refused(case, app, world, tables)


@pytest.mark.parametrize("case", QUERIES, ids=lambda case: case.name)
async def test_a_malformed_question_names_its_fields(
    case: Case, app: Caller, world: World, tables: asyncpg.Connection
) -> None:
    await assert_refused(case, app, world, tables)


async def test_a_balance_never_leaves_int64(
    callers: Callers, tables: asyncpg.Connection, world: World
) -> None:
    app = callers.of("app")
    outside, rich = await app.open(1)
    deposit = transfer_pb2.TRANSFER_KIND_DEPOSIT
    await app.submit(payment(outside, rich, 2**62, kind=deposit))
    await app.submit(payment(outside, rich, 2**62 - 1, kind=deposit))
    case = Case(
        "one too many",
        lambda app, _: app.submit(payment(outside, rich, 1, kind=deposit)),
        PRECONDITION,
        "BALANCE_OVERFLOW",
    )
    await assert_refused(case, app, world, tables)


async def test_every_bad_item_of_a_batch_fails_alone_and_is_named(
    app: Caller, world: World, tables: asyncpg.Connection
) -> None:
    before = await counts(tables)
    good = payment(world.payer, world.payee, 1)
    items = [
        payment(world.payer, world.payee, 0),
        good,
        payment(world.payer, world.payee, 1, description="a\x00"),
        payment(world.payer, world.payer, 1),
        payment(world.payer, world.payee, 1, currency="eur"),
        payment(world.frozen, world.payee, 1),
        good,
    ]
    reply = await app.transfers.SubmitTransfers(
        transfers_pb2.SubmitTransfersRequest(transfers=items), timeout=TIMEOUT_S
    )
    errors = {
        index: from_status(outcome.error)
        for index, outcome in enumerate(reply.outcomes)
        if outcome.HasField("error")
    }
    assert {index: error and error.reason.value for index, error in errors.items()} == {
        0: "INVALID_FIELD",
        2: "INVALID_FIELD",
        3: "SAME_ACCOUNT",
        4: "INVALID_FIELD",
        5: "ACCOUNT_FROZEN",
    }
    named = [bad.field for error in errors.values() if error for bad in error.violations]
    assert named == [
        "transfers[0].amount.minor_units",
        "transfers[2].description",
        "transfers[4].amount.currency",
    ]
    first, copy = reply.outcomes[1], reply.outcomes[6]
    assert (first.replayed, copy.replayed) == (False, True)
    assert first.transfer == copy.transfer
    after = await counts(tables)
    assert (after["transfers"] - before["transfers"], after["declines"] - before["declines"]) == (
        1,
        1,
    )


async def test_a_key_with_another_body_is_refused_and_the_first_stands(
    app: Caller, world: World, tables: asyncpg.Connection
) -> None:
    first = payment(world.payer, world.payee, 1, description="one")
    done = await app.submit(first)
    for change in ({"amount": 2}, {"description": "two"}, {"reference": "r"}):
        other = transfers_pb2.SubmitTransferRequest()
        other.CopyFrom(first)
        if "amount" in change:
            other.amount.minor_units = 2
        else:
            other.MergeFrom(transfers_pb2.SubmitTransferRequest(**change))
        case = Case(
            "reused",
            lambda app, _, other=other: app.submit(other),  # type: ignore[misc]
            grpc.StatusCode.ALREADY_EXISTS,
            "IDEMPOTENCY_KEY_REUSED",
            metadata=("key",),
        )
        await assert_refused(case, app, world, tables)
    again = await app.submit(first)
    assert again.replayed
    assert again.transfer == done.transfer
    assert again.position == done.position


async def test_a_stored_decline_is_repeated_with_the_same_figures(
    app: Caller, world: World, tables: asyncpg.Connection
) -> None:
    asked_for = payment(world.frozen, world.payee, 1)
    first = await refusal_of(app.submit(asked_for))
    before = await counts(tables)
    again = await refusal_of(app.submit(asked_for))
    assert await counts(tables) == before
    assert first is not None
    assert again is not None
    assert first.error is not None
    assert again.error is not None
    assert again.error.metadata == {**first.error.metadata, "replayed": "true"}
    assert (again.code, again.details) == (first.code, first.details)


async def test_a_key_is_its_clients_alone(app: Caller, callers: Callers, world: World) -> None:
    mine = payment(world.payer, world.payee, 1)
    await app.submit(mine)
    other = callers.of("loadtest")
    unseen = await refusal_of(
        other.transfers.LookupTransfer(
            transfers_pb2.LookupTransferRequest(idempotency_key=mine.idempotency_key),
            timeout=TIMEOUT_S,
        )
    )
    assert unseen is not None
    assert unseen.reason == "TRANSFER_NOT_FOUND"


async def test_a_page_token_that_was_touched_is_refused(app: Caller, world: World) -> None:
    done = await app.submit(payment(world.payer, world.payee, 1))
    await app.submit(payment(world.payer, world.payee, 1))
    first = listing(account_id=world.payer, page_size=1, min_position=done.position)
    page = await answered(lambda: app.history.ListTransfers(first, timeout=TIMEOUT_S))
    token = page.next_page_token
    assert token
    middle = len(token) // 2
    altered = token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :]
    bent = {
        "altered": listing(account_id=world.payer, page_size=1, page_token=altered),
        "cut": listing(account_id=world.payer, page_size=1, page_token=token[:-1]),
        "longer": listing(account_id=world.payer, page_size=1, page_token=token + "A"),
        "of another filter": listing(account_id=world.payee, page_size=1, page_token=token),
    }
    for name, request in bent.items():
        refusal = await refusal_of(app.history.ListTransfers(request, timeout=TIMEOUT_S))
        assert refusal is not None, name
        assert (refusal.code, refusal.reason) == (INVALID, "INVALID_FIELD"), name
        assert refusal.fields == ["page_token"], name
    untouched = listing(account_id=world.payer, page_size=1, page_token=token)
    page = await answered(lambda: app.history.ListTransfers(untouched, timeout=TIMEOUT_S))
    assert page.transfers


@pytest.mark.parametrize(
    ("name", "changes", "code", "reason", "fields"),
    [
        ("no reason", {"reason": ""}, INVALID, "INVALID_FIELD", ["reason"]),
        ("reason of 257", {"reason": "r" * 257}, INVALID, "INVALID_FIELD", ["reason"]),
        ("no status", {"status": 0}, INVALID, "INVALID_FIELD", ["status"]),
        ("no account", {"account_id": 0}, INVALID, "INVALID_FIELD", ["account_id"]),
        ("unknown account", {"account_id": UNKNOWN}, NOT_FOUND, "ACCOUNT_NOT_FOUND", []),
        ("no move at all", {"status": 2}, PRECONDITION, "ILLEGAL_STATE", []),
        ("closing with money on it", {"status": 3}, PRECONDITION, "ILLEGAL_STATE", []),
        ("another revision", {"expected_revision": 9}, PRECONDITION, "VERSION_MISMATCH", []),
        ("naming a user", {"actor": actor_pb2.Actor(user_id="u")}, DENIED, "NOT_PERMITTED", []),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_bad_change_of_status_changes_nothing(
    callers: Callers,
    app: Caller,
    world: World,
    tables: asyncpg.Connection,
    name: str,
    changes: dict[str, Any],
    code: grpc.StatusCode,
    reason: str,
    fields: list[str],
) -> None:
    values: dict[str, Any] = {
        "idempotency_key": secrets.token_hex(8),
        "account_id": world.frozen,
        "status": account_pb2.ACCOUNT_STATUS_ACTIVE,
        "reason": "because",
    }
    request = accounts_pb2.SetAccountStatusRequest(**{**values, **changes})
    operator = callers.of("operator")
    case = Case(
        name,
        lambda _, __: operator.accounts.SetAccountStatus(request, timeout=TIMEOUT_S),
        code,
        reason,
        tuple(fields),
    )
    await assert_refused(case, app, world, tables)
