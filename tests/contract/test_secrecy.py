"""Secrets appear in no table, key, document, log, file, page or error but where they should."""

from __future__ import annotations

import base64
import secrets
import time
from typing import Any

import pytest
import redis.asyncio as redis

from deploy.local import Endpoints, LocalStack
from deploy.local.state import StateFolder
from paycore.client import Money, Pin, TransferOrder
from paycore.client.errors import ClientError, PinIncorrectError, PinTooWeakError
from paycore.client.sealing import SealingKey
from paycore.domain.pin import SealedPin
from paycore.domain.step_up import PaymentIntent
from paycore.domain.transfers import StepUpBasis
from paycore.signing.v1 import signing_service_pb2 as signing_pb2
from paycore.v1 import history_service_pb2, step_up_pb2, transfer_pb2
from signing_service.keystore import encrypted_file
from tests.support import stores
from tests.support.callers import TIMEOUT_S, Caller, answered, payment, refusal_of
from tests.support.load import patient_client

ABOVE_THRESHOLD = 150_000


def canary() -> Pin:
    """A PIN that nothing else can look like by chance."""
    while True:
        digits = "".join(secrets.choice("0123456789") for _ in range(12))
        if len(set(digits)) > 6:
            return Pin(digits)


def forms(secret: bytes) -> set[bytes]:
    """Ways in which it might have been stores."""
    return {
        secret,
        secret.hex().encode(),
        base64.b64encode(secret),
        base64.urlsafe_b64encode(secret).rstrip(b"="),
    }


def forms_of_pin(pin: Pin) -> set[bytes]:
    digits = pin.reveal().encode()
    return {digits[::-1]} | forms(digits) | forms(digits.ljust(16, b"\0"))


def step_up(sealed: SealedPin, signed_at_us: int) -> step_up_pb2.StepUp:
    proof = step_up_pb2.StepUp(sealed_pin=step_up_pb2.SealedPin(**sealed._asdict()))
    proof.sign_time.FromMicroseconds(signed_at_us)
    return proof


async def test_secrets_leave_no_trace_where_they_are_not_meant_to_be(
    services: LocalStack, app: Caller
) -> None:
    began_s = time.time() - 1
    endpoints = services.endpoints
    right, wrong, weak = canary(), canary(), Pin("111111111111")
    user, reference = f"user-{secrets.token_hex(6)}", f"reference-{secrets.token_hex(12)}"
    outside, payer, payee = await app.open(2, owner=user)
    await app.fund(outside, [payer], 1_000_000, "EUR")
    told: list[str] = []
    sealing = await sealing_key(app)
    enrolment = sealing.for_enrolment(right, user)
    await app.signing.EnrollPin(
        signing_pb2.EnrollPinRequest(
            user_id=user, sealed_pin=step_up_pb2.SealedPin(**enrolment._asdict())
        ),
        timeout=TIMEOUT_S,
    )
    sealed: dict[str, bytes] = {"enrolment": enrolment.ciphertext}
    position = ""
    for name, pin in (("right", right), ("wrong", wrong)):
        key, signed_at_us = secrets.token_hex(12), time.time_ns() // 1_000
        intent = PaymentIntent(
            "TRANSFER", payer, payee, ABOVE_THRESHOLD, "EUR", "app", key, signed_at_us
        )
        proof = sealing.for_payment(pin, intent)
        sealed[name] = proof.ciphertext
        request = payment(
            payer,
            payee,
            ABOVE_THRESHOLD,
            idempotency_key=key,
            reference=reference,
            step_up=step_up(proof, signed_at_us),
        )
        if pin is wrong:
            refusal = await refusal_of(app.submit(request))
            told.append(repr(refusal))
            assert refusal is not None
            assert refusal.reason == "PIN_INCORRECT"
        else:
            reply = await app.submit(request)
            told.append(str(reply))
            assert reply.transfer.step_up_basis == transfer_pb2.STEP_UP_BASIS_AUTHORIZED
            transfer, position = reply.transfer.id, reply.position
    async with patient_client(endpoints, "app") as client:
        order = TransferOrder(payer, payee, Money(ABOVE_THRESHOLD, "EUR"))
        done = await client.submit_transfer(order, pin=right)
        assert done.transfer.step_up_basis is StepUpBasis.AUTHORIZED
        told.append(repr(done))
        with pytest.raises(PinIncorrectError) as refused:
            await client.submit_transfer(order, pin=wrong)
        told.append(_everything_of(refused.value))
        with pytest.raises(PinTooWeakError) as refused_weak:
            await client.enroll_pin(f"{user}-2", weak)
        told.append(_everything_of(refused_weak.value))
    found: Any = await answered(
        lambda: app.history.GetTransfer(_get_transfer(transfer, position), timeout=15)
    )
    told.append(str(found))

    async with redis.Redis.from_url(endpoints.redis_url) as client:
        await client.set(f"control:{reference}", reference, ex=600)
    await stores.settle(endpoints)
    tables = await stores.everything_by_table(endpoints)
    places = {
        "replies and errors": "\n".join(told).encode(),
        "sessions": await stores.everything_in_sessions(endpoints),
        "redis": await stores.everything_in_redis(endpoints),
        "index": await stores.everything_in_index(endpoints),
        "metrics": await stores.everything_in_metrics(endpoints),
    }
    files = dict(stores.files_of(endpoints.state, began_s))
    everywhere = [*places.items(), *tables.items(), *files.items()]

    hashed = tables["signing.pins"]
    (row,) = [line for line in hashed.splitlines() if user.encode() in line]
    encoded = b"$argon2id$" + row.partition(b"$argon2id$")[2].partition(b'"')[0]
    assert len(encoded) > 60
    canaries = {
        "right PIN": forms_of_pin(right),
        "wrong PIN": forms_of_pin(wrong),
        **{f"sealed PIN of {name}": forms(octets) for name, octets in sealed.items()},
    }
    assert stores.found_in(everywhere, canaries) == set()
    assert stores.found_in(everywhere, key_canaries(endpoints)) == set()
    # What guards the PIN stays with the signer: its table, and what PostgreSQL keeps of that.
    at = {place for place, _ in stores.found_in(everywhere, {"hash": {encoded}})}
    assert {place for place in at if not place.startswith(str(endpoints.state / "postgres"))} == {
        "signing.pins"
    }

    # The same search finds what is meant to be there.
    control = {"reference": {reference.encode()}}
    seen = {place for place, _ in stores.found_in(everywhere, control)}
    assert {"index", "redis"} <= seen
    assert any("pg_wal" in place for place in seen), sorted(seen)
    assert any("base" in place for place in seen), sorted(seen)
    assert any(place.endswith(".rdb") for place in seen), sorted(seen)
    assert str(transfer).encode() in places["index"]
    assert b"paycore_calls_total" in places["metrics"]
    for service in ("signing", "command", "projector", "query", "postgres"):
        assert any(name.endswith(f"{service}.log") for name in files_of_logs(endpoints)), service


async def sealing_key(app: Caller) -> SealingKey:
    keys = (
        await app.signing.GetPublicKeys(signing_pb2.GetPublicKeysRequest(), timeout=TIMEOUT_S)
    ).keys
    (key,) = [one for one in keys if one.purpose == signing_pb2.KEY_PURPOSE_SEALING and one.current]
    return SealingKey(key.key_id, key.public_key)


def key_canaries(endpoints: Endpoints) -> dict[str, set[bytes]]:
    """The signer's secret keys and pepper, as they are in its encrypted file."""
    state = StateFolder(endpoints.state)
    passphrase = encrypted_file.read_passphrase(state.keystore_passphrase_file)
    ring = encrypted_file.load(state.keystore_file, passphrase)
    assert len(ring.keys) >= 3
    return {key.key_id: forms(key.secret) for key in ring.keys}


def files_of_logs(endpoints: Endpoints) -> list[str]:
    return [path.name for path in StateFolder(endpoints.state).logs.iterdir()]


def _get_transfer(transfer: int, position: str) -> Any:
    return history_service_pb2.GetTransferRequest(transfer_id=transfer, min_position=position)


def _everything_of(error: ClientError) -> str:
    return f"{error!r} {error} {vars(error)} {error.__cause__!r} {error.__context__!r}"


def test_a_pin_prints_as_stars_wherever_it_is_printed() -> None:
    pin = canary()
    shown = f"{pin} {pin!r} {pin!s:>20} {[pin]} {(pin,)}"
    assert not any(form.decode("latin-1") in shown for form in forms_of_pin(pin))
