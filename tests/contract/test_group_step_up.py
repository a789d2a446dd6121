"""Each payer of a group above policy approves its part, by a PIN that only the signer can read."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from deploy.local import LocalStack
from operations.verify.verify import verify_ledger
from paycore.client import Pin
from paycore.client.sealing import SealingKey
from paycore.domain.pin import SealedPin
from paycore.domain.step_up import GroupIntent, GroupLeg
from paycore.runtime.clock import SystemClock
from paycore.signing.v1 import signing_service_pb2 as signing
from paycore.v1 import money_pb2, step_up_pb2, transfer_pb2
from paycore.v1 import transfer_service_pb2 as pb2
from tests.support.callers import TIMEOUT_S, Caller, refusal_of
from tests.support.load import patient_client

ABOVE = 60_000
"""Below the local threshold of 100,000 alone; twice above it."""

PINS = (Pin("835190"), Pin("274916"))


@dataclass(frozen=True)
class Legs:
    """A group of two payers, each of whom pays two payees, and a third who pays little."""

    key: str
    legs: tuple[GroupLeg, ...]
    payers: tuple[int, int]

    def request(self, **proofs: Any) -> pb2.SubmitTransferGroupRequest:
        """`proofs` are of `first` and `second` payer."""
        request = pb2.SubmitTransferGroupRequest(
            idempotency_key=self.key,
            transfers=[
                pb2.GroupedTransfer(
                    kind=transfer_pb2.TRANSFER_KIND_TRANSFER,
                    debit_account_id=leg.debit_account,
                    credit_account_id=leg.credit_account,
                    amount=money_pb2.Money(minor_units=leg.amount, currency=leg.currency),
                )
                for leg in self.legs
            ],
        )
        for name, payer in zip(("first", "second"), self.payers, strict=True):
            if name in proofs:
                request.step_ups.add(payer_account_id=payer, step_up=proofs[name])
        return request

    def proof(self, sealing: SealingKey, which: int, pin: Pin, **changes: Any) -> Any:
        """The approval of the payer at `which`, of this group or of a changed one."""
        signed_at_us = SystemClock().now_us()
        values = {"legs": self.legs, "payer": self.payers[which], **changes}
        intent = GroupIntent("app", self.key, values["payer"], values["legs"], signed_at_us)
        sealed: SealedPin = sealing.for_group(pin, intent)
        message = step_up_pb2.StepUp(
            sealed_pin=step_up_pb2.SealedPin(key_id=sealed.key_id, ciphertext=sealed.ciphertext)
        )
        message.sign_time.FromMicroseconds(signed_at_us)
        return message


@pytest.fixture
async def sealing(app: Caller) -> SealingKey:
    reply = await app.signing.GetPublicKeys(signing.GetPublicKeysRequest(), timeout=TIMEOUT_S)
    [key] = [one for one in reply.keys if one.purpose == signing.KEY_PURPOSE_SEALING][:1]
    return SealingKey(key.key_id, key.public_key)


@pytest.fixture
async def legs(services: LocalStack, app: Caller) -> Legs:
    accounts = []
    async with patient_client(services.endpoints, "app") as client:
        for pin in PINS:
            user = f"user-{secrets.token_hex(6)}"
            await client.enroll_pin(user, pin)
            outside, payer = await app.open(1, owner=user)
            await app.fund(outside, [payer], 1_000_000, "EUR")
            accounts.append(payer)
    _, third, payee, other = await app.open(3, balance=50_000)
    first, second = accounts
    pairs = [(first, payee), (second, payee), (first, other), (third, payee), (second, other)]
    legs = (
        GroupLeg("TRANSFER", debit, credit, 10 if debit == third else ABOVE, "EUR")
        for debit, credit in pairs
    )
    return Legs(secrets.token_hex(12), tuple(legs), (first, second))


async def submit(app: Caller, request: pb2.SubmitTransferGroupRequest) -> Any:
    return await app.transfers.SubmitTransferGroup(request, timeout=TIMEOUT_S)


async def test_one_approval_for_each_payer_above_policy(
    services: LocalStack, app: Caller, legs: Legs, sealing: SealingKey, tables: asyncpg.Connection
) -> None:
    refused = await refusal_of(submit(app, legs.request()))
    assert refused is not None
    assert refused.error is not None
    assert refused.reason == "STEP_UP_REQUIRED"
    wanted = {"rule": "THRESHOLD", "threshold": "100000", "total": str(2 * ABOVE), "item": "0"}
    assert refused.error.metadata.items() >= wanted.items()

    first = legs.proof(sealing, 0, PINS[0])
    refused = await refusal_of(submit(app, legs.request(first=first)))
    assert refused is not None
    assert refused.error is not None
    assert refused.error.metadata["account"] == str(legs.payers[1])

    second = legs.proof(sealing, 1, PINS[1])
    done = await submit(app, legs.request(first=first, second=second))
    authorized = transfer_pb2.STEP_UP_BASIS_AUTHORIZED
    below = transfer_pb2.STEP_UP_BASIS_BELOW_THRESHOLD
    bases = [one.step_up_basis for one in done.transfers]
    assert bases == [authorized, authorized, authorized, below, authorized]
    # A retry is answered from what is stored, whatever proof it carries.
    wrong = legs.proof(sealing, 0, Pin("602958"))
    for again in (legs.request(), legs.request(first=wrong)):
        reply = await submit(app, again)
        assert reply.replayed
        assert [one.id for one in reply.transfers] == [one.id for one in done.transfers]
    rows = await tables.fetch(
        "SELECT payer, transfer_id FROM ledger.authorizations WHERE group_id = $1", done.group_id
    )
    assert {row["payer"] for row in rows} == set(legs.payers)
    assert {row["transfer_id"] for row in rows} == {None}

    reply = await app.signing.GetPublicKeys(signing.GetPublicKeysRequest(), timeout=TIMEOUT_S)
    report = await verify_ledger(
        services.endpoints.postgres_dsn["paycore_audit"],
        authorization_keys={
            key.key_id: key.public_key
            for key in reply.keys
            if key.purpose == signing.KEY_PURPOSE_AUTHORIZATION
        },
    )
    assert [check for check in report.checks if not check.held] == []


async def test_an_approval_is_for_this_group_and_this_payer(
    app: Caller, legs: Legs, sealing: SealingKey
) -> None:
    second = legs.proof(sealing, 1, PINS[1])
    more = (*legs.legs[:-1], legs.legs[-1]._replace(amount=ABOVE + 1))
    for first in (
        legs.proof(sealing, 0, PINS[0], legs=more),
        legs.proof(sealing, 0, PINS[0], payer=legs.payers[1]),
    ):
        refused = await refusal_of(submit(app, legs.request(first=first, second=second)))
        assert refused is not None
        assert refused.reason == "AUTHORIZATION_INVALID"
    wrong = legs.proof(sealing, 0, PINS[1])
    refused = await refusal_of(submit(app, legs.request(first=wrong, second=second)))
    assert refused is not None
    assert refused.error is not None
    assert refused.reason == "PIN_INCORRECT"
    assert refused.error.metadata["account"] == str(legs.payers[0])


async def test_what_is_wrong_with_the_approvals_is_named(
    app: Caller, legs: Legs, sealing: SealingKey
) -> None:
    request = legs.request(first=legs.proof(sealing, 0, PINS[0]))
    request.step_ups.append(request.step_ups[0])
    request.step_ups.add(payer_account_id=int(time.time()))
    refused = await refusal_of(submit(app, request))
    assert refused is not None
    assert {
        "step_ups[1].payer_account_id",
        "step_ups[2].payer_account_id",
        "step_ups[2].step_up.proof",
        "step_ups[2].step_up.sign_time",
    } <= set(refused.fields)
    many = legs.request()
    for _ in range(17):
        many.step_ups.add(payer_account_id=legs.payers[0])
    refused = await refusal_of(submit(app, many))
    assert refused is not None
    assert refused.fields == ["step_ups"]
