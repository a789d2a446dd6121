"""What one client has is nothing to another: walked over every method of the command service.

The table of methods lets everybody in here, so that only grants stand between them.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from deploy.local import LocalStack
from paycore.domain.errors import PaycoreError
from paycore.runtime.errors import from_rpc_error, from_status
from paycore.v1 import (
    account_pb2,
    account_service_pb2,
    actor_pb2,
    money_pb2,
    transfer_pb2,
    transfer_service_pb2,
)
from tests.support.callers import TIMEOUT_S, Caller, Callers, opening, payment
from tests.support.command_process import command_process
from tests.support.databases import OwnDatabase

METHODS: dict[str, MethodDescriptor] = {
    method.name: method
    for service in (
        account_service_pb2.DESCRIPTOR.services_by_name["AccountService"],
        transfer_service_pb2.DESCRIPTOR.services_by_name["TransferService"],
    )
    for method in service.methods
}

CANARY = "canary-of-the-victim"
FIVE = money_pb2.Money(minor_units=5, currency="EUR")
OUT_OF_REACH = {"NOT_PERMITTED", "ACCOUNT_NOT_FOUND", "TRANSFER_NOT_FOUND"}
INTRUDERS = ("loadtest", "stranger")
"""One with grants on its own accounts, and one with none."""

ACCESS = "".join(
    f"""
[clients.{name}]
methods = ["paycore.v1.AccountService/*", "paycore.v1.TransferService/*"]
"""
    for name in ("app", "operator", *INTRUDERS)
)


@dataclass(frozen=True)
class Victim:
    """What `app` has."""

    outside: int
    payer: int
    payee: int
    identifier: account_pb2.ExternalIdentifier
    transfer: int
    hold: int
    key: str


@pytest.fixture
async def callers(
    services: LocalStack, database: OwnDatabase, tmp_path: Path
) -> AsyncIterator[Callers]:
    """Callers of a command service whose table of methods hinders none of them."""
    access = tmp_path / "access.toml"
    access.write_text(ACCESS)
    async with (
        command_process(
            services.endpoints,
            tmp_path / "command.log",
            POSTGRES_DSN=database.dsn("command"),
            ACCESS_FILE=str(access),
        ) as (target, _),
        Callers(services.endpoints, command_target=target) as callers,
    ):
        yield callers


def in_an_hour() -> Timestamp:
    return Timestamp(seconds=int(time.time()) + 3_600)


async def victim_of(app: Caller) -> Victim:
    outside, payer, payee = await app.open(2, owner=CANARY)
    await app.fund(outside, [payer], 40_000, "EUR")
    identifier = account_pb2.ExternalIdentifier(scheme="iban", value=secrets.token_hex(8))
    await app.accounts.LinkExternalIdentifier(
        account_service_pb2.LinkExternalIdentifierRequest(
            idempotency_key=secrets.token_hex(8), account_id=payer, identifier=identifier
        ),
        timeout=TIMEOUT_S,
    )
    key = secrets.token_hex(8)
    paid = await app.submit(
        payment(payer, payee, 1_000, idempotency_key=key, reference=CANARY, description=CANARY)
    )
    held = await app.transfers.HoldFunds(
        transfer_service_pb2.HoldFundsRequest(
            idempotency_key=secrets.token_hex(8),
            debit_account_id=payer,
            credit_account_id=payee,
            amount=FIVE,
            expire_time=in_an_hour(),
            description=CANARY,
        ),
        timeout=TIMEOUT_S,
    )
    return Victim(outside, payer, payee, identifier, paid.transfer.id, held.transfer.id, key)


def reaching(victim: Victim) -> dict[str, list[dict[str, Any]]]:
    """By method, requests about what is the victim's; each gets a key of its own."""
    at: list[dict[str, Any]] = [
        {"account_id": victim.payer},
        {"account_identifier": victim.identifier},
    ]
    debits: list[dict[str, Any]] = [
        {"debit_account_id": victim.payer, "credit_account_id": victim.outside},
        {"debit_account_identifier": victim.identifier, "credit_account_id": victim.payee},
    ]
    moved = [
        {**sides, "amount": FIVE, "kind": transfer_pb2.TRANSFER_KIND_WITHDRAWAL}
        if sides["credit_account_id"] == victim.outside
        else {**sides, "amount": FIVE, "kind": transfer_pb2.TRANSFER_KIND_TRANSFER}
        for sides in debits
    ]
    keyed = [{**one, "idempotency_key": secrets.token_hex(8)} for one in moved]
    child = {"hold_id": victim.hold}
    parent = {"transfer_id": victim.transfer}
    return {
        "GetAccount": at,
        "SetAccountStatus": [
            {**one, "status": account_pb2.ACCOUNT_STATUS_FROZEN, "reason": "r"} for one in at
        ],
        "SetOverdraftLimit": [
            {**one, "overdraft_limit_minor_units": 1, "reason": "r"} for one in at
        ],
        "LinkExternalIdentifier": [
            {
                "account_id": victim.payer,
                "identifier": account_pb2.ExternalIdentifier(scheme="card", value="1"),
            }
        ],
        "SubmitTransfer": moved,
        "SubmitTransfers": [{"transfers": keyed}],
        "SubmitTransferGroup": [{"transfers": moved[:1]}, {"transfers": moved[1:]}],
        "StreamTransfers": [{"transfers": keyed}],
        "HoldFunds": [{**one, "amount": FIVE, "expire_time": in_an_hour()} for one in debits],
        "CaptureHold": [{**child, "amount": FIVE}, {"hold_id": victim.transfer}],
        "ReleaseHold": [child, {"hold_id": victim.transfer}],
        "RefundTransfer": [{**parent, "amount": FIVE}, {"transfer_id": victim.hold}],
        "ReverseTransfer": [{**parent, "reason": "r"}],
        "ApproveReview": [{**parent, "reason": "r"}, {"transfer_id": victim.hold, "reason": "r"}],
        "RefuseReview": [{**parent, "reason": "r"}, {"transfer_id": victim.hold, "reason": "r"}],
        "LookupTransfer": [{"idempotency_key": victim.key}, {"reference": CANARY}],
    }


OPENING = {"CreateAccount", "CreateAccounts"}
"""They name nothing that exists but their own keys."""

OPEN = {"ResolveExternalIdentifier"}
"""Whoever is to be paid by a name of the world outside is found by it: it tells the id alone."""


async def call(caller: Caller, method: MethodDescriptor, request: Message) -> list[Any]:
    """A PaycoreError or a reply for each thing that was asked."""
    stubs = caller.accounts if "Account" in method.containing_service.name else caller.transfers
    ask = getattr(stubs, method.name)
    try:
        if method.client_streaming:
            replies = [reply async for reply in ask(iter([request]), timeout=TIMEOUT_S)]
        else:
            replies = [await ask(request, timeout=TIMEOUT_S)]
    except grpc.RpcError as refused:
        return [from_rpc_error(refused) or refused]
    return [
        from_status(outcome.error) if _is_refused(outcome) else outcome
        for reply in replies
        for outcome in (getattr(reply, "outcomes", None) or [reply])
    ]


def _is_refused(outcome: Message) -> bool:
    return "error" in outcome.DESCRIPTOR.fields_by_name and outcome.HasField("error")


def request_of(method: MethodDescriptor, values: dict[str, Any]) -> Message:
    kind = GetMessageClass(method.input_type)
    if "idempotency_key" in method.input_type.fields_by_name and method.name != "LookupTransfer":
        values = {"idempotency_key": secrets.token_hex(8), **values}
    return kind(**values)


def fields_of(message: Descriptor, seen: frozenset[str] = frozenset()) -> Iterator[FieldDescriptor]:
    """Every field of `message` and of what is in it."""
    for field in message.fields:
        yield field
        inner = field.message_type
        if inner is not None and inner.full_name not in seen:
            yield from fields_of(inner, seen | {inner.full_name})


def test_every_method_is_walked(database: OwnDatabase) -> None:
    victim = Victim(1, 2, 3, account_pb2.ExternalIdentifier(scheme="s", value="v"), 4, 5, "k")
    assert set(reaching(victim)) | OPENING | OPEN == set(METHODS)
    for name in OPENING:
        named = {field.name for field in fields_of(METHODS[name].input_type)}
        assert not any(field.endswith("_id") for field in named - {"user_id", "device_id"})


async def test_nothing_of_one_client_is_within_anothers_reach(callers: Callers) -> None:
    app = callers.of("app")
    victim = await victim_of(app)
    before = await possessions(app, victim)
    for name in INTRUDERS:
        intruder = callers.of(name)
        for method, attempts in reaching(victim).items():
            for values in attempts:
                outcomes = await call(
                    intruder, METHODS[method], request_of(METHODS[method], values)
                )
                assert outcomes, (name, method)
                for outcome in outcomes:
                    assert isinstance(outcome, PaycoreError), (name, method, outcome)
                    assert outcome.reason in OUT_OF_REACH, (name, method, outcome)
                    if "reference" not in values:
                        assert CANARY not in f"{outcome} {outcome.metadata}"
    assert await possessions(app, victim) == before


async def possessions(app: Caller, victim: Victim) -> list[Message]:
    """The victim's accounts and transfers, whole."""
    asked: Sequence[tuple[str, dict[str, Any]]] = (
        ("GetAccount", {"account_id": victim.outside}),
        ("GetAccount", {"account_id": victim.payer}),
        ("GetAccount", {"account_id": victim.payee}),
        ("LookupTransfer", {"idempotency_key": victim.key}),
        ("LookupTransfer", {"reference": CANARY}),
    )
    found = []
    for name, values in asked:
        (reply,) = await call(app, METHODS[name], request_of(METHODS[name], values))
        assert isinstance(reply, Message), reply
        found.append(reply)
    return found


async def test_each_client_has_idempotency_keys_of_its_own(callers: Callers) -> None:
    """The same key is another client's own, and answers with nothing of the first one's."""
    app, other = callers.of("app"), callers.of("loadtest")
    victim = await victim_of(app)
    outside, payer, payee = await other.open(2)
    await other.fund(outside, [payer], 500, "EUR")

    paid = await other.submit(payment(payer, payee, 3, idempotency_key=victim.key))
    assert not paid.replayed
    assert (paid.transfer.debit_account_id, paid.transfer.amount.minor_units) == (payer, 3)
    (own,) = (await lookup(other, victim.key)).outcomes
    (first,) = (await lookup(app, victim.key)).outcomes
    assert own.transfer.id == paid.transfer.id
    assert first.transfer.id == victim.transfer

    account = opening(owner="first")
    one = await app.accounts.CreateAccount(account, timeout=TIMEOUT_S)
    account.owner = "second"
    two = await other.accounts.CreateAccount(account, timeout=TIMEOUT_S)
    assert not two.replayed
    assert (one.account.owner, two.account.owner) == ("first", "second")
    assert one.account.id != two.account.id


async def lookup(caller: Caller, key: str) -> Any:
    request = transfer_service_pb2.LookupTransferRequest(idempotency_key=key)
    return await caller.transfers.LookupTransfer(request, timeout=TIMEOUT_S)


NAMES_ACTOR = {
    name
    for name, method in METHODS.items()
    if any(field.name == "actor" for field in fields_of(method.input_type))
}
SOMEBODY = actor_pb2.Actor(user_id="somebody", device_id="d", ip_address="192.0.2.1")


def with_actor(message: Message) -> Message:
    """`message` on behalf of a user, in each place that there is for one."""
    for field in message.DESCRIPTOR.fields:
        if field.name == "actor":
            message.actor.CopyFrom(SOMEBODY)  # type: ignore[attr-defined]
        elif field.name in ("transfers", "accounts"):
            for inner in getattr(message, field.name):
                with_actor(inner)
    return message


async def test_only_those_who_may_speak_for_users_are_believed(callers: Callers) -> None:
    """A request that names a user is refused whole: to leave the name out would falsify the audit.

    `operator` has grants on all accounts, and none to act for users.
    """
    victim = await victim_of(callers.of("app"))
    operator = callers.of("operator")
    requests = {
        **reaching(victim),
        "CreateAccount": [_values(opening())],
        "CreateAccounts": [{"accounts": [opening()]}],
    }
    walked = set()
    for name, method in METHODS.items():
        if name not in NAMES_ACTOR:
            continue
        for values in requests[name]:
            request = with_actor(request_of(method, values))
            assert request != request_of(method, values)
            for outcome in await call(operator, method, request):
                assert isinstance(outcome, PaycoreError), (name, outcome)
                assert outcome.reason == "NOT_PERMITTED", (name, outcome)
                assert "ACT_FOR_USERS" in outcome.metadata.values(), (name, outcome)
        walked.add(name)
    assert walked == NAMES_ACTOR
    assert len(walked) >= 13


def _values(message: Message) -> dict[str, Any]:
    return {field.name: value for field, value in message.ListFields()}
