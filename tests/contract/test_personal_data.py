"""What callers see of personal data, before and after its subject is erased."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Any, cast

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from deploy.local import LocalStack
from operations.cli.app import app as cli
from operations.deployment import find_deployment
from operations.traces import Traced
from operations.trail import TrailEntry, TrailFilter, read_trail
from paycore.client import Actor, Money, Pin, TransferOrder
from paycore.client.errors import PinIncorrectError
from paycore.v1 import actor_pb2, transfer_pb2
from paycore.v1 import history_service_pb2 as history_pb2
from paycore.v1 import personal_data_service_pb2 as personal_pb2
from paycore.v1 import transfer_service_pb2 as transfers_pb2
from tests.support.callers import TIMEOUT_S, Caller, Callers, answered, payment, refusal_of
from tests.support.load import patient_client
from tests.support.stores import (
    everything_in_index,
    everything_in_redis,
    everything_in_tables,
    files_of,
)

ERASED = transfer_pb2.DETAILS_STATE_ERASED


def detailed(debit: int, credit: int, user: str, **changes: Any) -> Any:
    """A payment with all that is personal."""
    values: dict[str, Any] = {
        "description": f"rent of {user}",
        "metadata": {"flat": f"{user}-4b"},
        "actor": actor_pb2.Actor(user_id=user, device_id=f"phone-{user}", ip_address="192.0.2.7"),
        "reference": "r-1",
    }
    return payment(debit, credit, **{**values, **changes})


def without_details(transfer: transfer_pb2.Transfer) -> transfer_pb2.Transfer:
    """`transfer` as it is told once its subject is erased."""
    told = transfer_pb2.Transfer()
    told.CopyFrom(transfer)
    for field in ("description", "metadata", "actor"):
        told.ClearField(field)
    told.details_state = ERASED
    return told


async def erase(callers: Callers, subject: str) -> Any:
    request = personal_pb2.EraseSubjectRequest(subject=subject, reason="asked for")
    return await callers.of("operator").personal.EraseSubject(request, timeout=TIMEOUT_S)


async def test_replays_and_look_ups_tell_the_details_until_their_subject_is_erased(
    callers: Callers, app: Caller, tables: asyncpg.Connection
) -> None:
    user = f"u-{secrets.token_hex(6)}"
    _, payer, payee = await app.open(2, balance=1_000, owner=user)
    request = detailed(payer, payee, user)
    first = await app.submit(request)
    assert (first.transfer.description, first.transfer.actor.user_id) == (f"rent of {user}", user)
    again = await app.submit(request)
    assert again.replayed
    assert again.transfer == first.transfer
    look_up = transfers_pb2.LookupTransferRequest(idempotency_key=request.idempotency_key)
    found = await app.transfers.LookupTransfer(look_up, timeout=TIMEOUT_S)
    assert [outcome.transfer for outcome in found.outcomes] == [first.transfer]

    erased = await erase(callers, user)
    assert erased.destroyed_keys == 1

    again = await app.submit(request)
    assert again.replayed
    assert again.transfer == without_details(first.transfer)
    found = await app.transfers.LookupTransfer(look_up, timeout=TIMEOUT_S)
    assert [outcome.transfer for outcome in found.outcomes] == [without_details(first.transfer)]
    audited = await tables.fetch(
        "SELECT client, reason, after FROM ledger.audit WHERE subject = $1", f"subject/{user}"
    )
    assert [tuple(row) for row in audited] == [("operator", "asked for", '{"keys": 1}')]


async def test_nothing_personal_is_written_anywhere_in_the_open_and_verification_holds_throughout(
    callers: Callers, app: Caller, services: LocalStack
) -> None:
    state = str(services.endpoints.state)
    user, canary = f"u-{secrets.token_hex(6)}", f"canary{secrets.token_hex(8)}"
    _, payer, payee = await app.open(2, balance=1_000, owner=user)
    details: dict[str, Any] = {
        "description": f"{canary}-text",
        "metadata": {"note": f"{canary}-note"},
        "actor": actor_pb2.Actor(
            # Ids of users are pseudonyms, and stand in the open where keys are looked for by them.
            user_id=f"clerk-{user}",
            device_id=f"{canary}-phone",
            ip_address="2001:db8::ca:1",
        ),
    }
    posted = await app.submit(payment(payer, payee, **details))
    declined = await refusal_of(app.submit(payment(payer, payee, 5_000, **details)))
    assert declined is not None
    assert (declined.reason, canary in declined.details) == ("INSUFFICIENT_FUNDS", False)
    position = posted.position
    # A wrong PIN leaves a security event that says from where.
    async with patient_client(services.endpoints, "app") as client:
        await client.enroll_pin(user, Pin("592713"))
        order = TransferOrder(
            payer,
            payee,
            Money(150_000, "EUR"),
            actor=Actor(f"clerk-{user}", f"{canary}-phone", "2001:db8::ca:1"),
        )
        with pytest.raises(PinIncorrectError):
            await client.submit_transfer(order, pin=Pin("482715"))

    async def event(identity: str, filters: dict[str, str]) -> TrailEntry | None:
        wanted = TrailFilter(events=["STEP_UP_REFUSED"], **filters)  # type: ignore[arg-type]
        page = await read_trail(find_deployment(services.endpoints.state, identity), wanted, 2)
        return page.entries[0] if page.entries else None

    async with asyncio.timeout(90):
        while (seen := await event("operator", {"user": user})) is None:
            await asyncio.sleep(0.1)
    assert (seen.traced, seen.address) == (Traced.OPENED, "2001:db8::ca:1")
    assert (seen.device, seen.acting_user) == (f"{canary}-phone", f"clerk-{user}")
    for filters in ({"device": f"{canary}-phone"}, {"address": "2001:DB8::CA:1"}):
        assert await event("operator", filters) == seen
    hidden = await event("app", {"user": user})
    assert hidden is not None
    assert (hidden.traced, hidden.device, hidden.address) == (Traced.SEALED, None, None)

    async def told() -> transfer_pb2.Transfer:
        request = history_pb2.GetTransferRequest(
            transfer_id=posted.transfer.id, min_position=position
        )
        reply = await answered(lambda: app.history.GetTransfer(request, timeout=TIMEOUT_S))
        return cast("transfer_pb2.Transfer", reply.transfer)

    assert (await told()).description == f"{canary}-text"
    places = {"redis": await everything_in_redis(services.endpoints)}
    places |= {
        name: content
        for name, content in files_of(services.endpoints.state)
        # The index has it open, for it is searched.
        if "/elasticsearch/" not in name
    }
    assert any("/pg_wal/" in name for name in places)
    assert any(name.endswith("command.log") for name in places)
    assert [name for name, content in places.items() if canary.encode() in content] == []
    # An address is rarely told apart by its text: it may stand in no column either.
    assert b"2001:db8::ca:1" not in await everything_in_tables(services.endpoints)

    result = await paycore("verify", "--state", state, "--json")
    assert result.exit_code == 0, result.output
    head = await sealed_whole(state)
    erased = await paycore(
        "erase", user, "--reason", "asked for", "--yes", "--state", state, "--json"
    )
    assert erased.exit_code == 0, erased.output
    assert json.loads(erased.stdout)["destroyed_keys"] == "1"
    async with asyncio.timeout(90):
        while (shown := await told()).details_state != ERASED:
            await asyncio.sleep(0.05)
    assert (shown.description, dict(shown.metadata), shown.HasField("actor")) == ("", {}, False)
    assert canary.encode() not in await everything_in_index(services.endpoints)
    gone = await event("operator", {"user": user})
    assert gone is not None
    assert (gone.traced, gone.reason) == (Traced.ERASED, "PIN_INCORRECT")
    assert (gone.device, gone.device_hint, gone.address_hint) == (None, None, None)
    assert await event("operator", {"device": f"{canary}-phone"}) is None
    assert canary.encode() not in await everything_in_tables(services.endpoints)
    result = await paycore("verify", "--state", state, "--json")
    assert result.exit_code == 0, result.output
    assert await sealed_whole(state, "--head", head) != head


async def sealed_whole(state: str, *arguments: str) -> str:
    """The chain of seals holds, up to all that was posted; returns its head."""
    async with asyncio.timeout(90):
        while True:
            result = await paycore("verify", "--chain", *arguments, "--state", state, "--json")
            assert result.exit_code == 0, result.output
            told = json.loads(result.stdout)
            assert told["held"]
            if told["unsealed"] == 0:
                return cast("str", told["head"])


async def paycore(*arguments: str) -> Result:
    """The command line, which runs an event loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, cli, list(arguments))


async def test_only_who_is_granted_may_erase_and_only_with_a_reason(
    callers: Callers, app: Caller
) -> None:
    for caller in ("app", "loadtest", "analyst", "stranger", "command"):
        request = personal_pb2.EraseSubjectRequest(subject="nobody", reason="r")
        refusal = await refusal_of(
            callers.of(caller).personal.EraseSubject(request, timeout=TIMEOUT_S)
        )
        assert refusal is not None, caller
        assert refusal.reason == "NOT_PERMITTED", caller
    operator = callers.of("operator").personal
    for subject, reason, fields in (
        ("", "r", ["subject"]),
        ("x" * 129, "r", ["subject"]),
        ("a\0b", "r", ["subject"]),
        ("nobody", "", ["reason"]),
        ("", "", ["subject", "reason"]),
    ):
        request = personal_pb2.EraseSubjectRequest(subject=subject, reason=reason)
        refusal = await refusal_of(operator.EraseSubject(request, timeout=TIMEOUT_S))
        assert refusal is not None
        assert (refusal.reason, refusal.fields) == ("INVALID_FIELD", fields)
