"""What is authorized, what is refused, and what the authorization says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from paycore.client.sealing import SealingKey
from paycore.domain.errors import Reason
from paycore.domain.step_up import (
    AUTHORIZATION_LIFETIME_US,
    AuthorizationMethod,
    PaymentIntent,
    payment_digest,
    signed_bytes,
)
from signing_service.keystore.key_ring import KeyRing
from signing_service.keystore.port import KeyPurpose
from tests.integration.signing.signer import (
    PIN,
    WRONG,
    ShiftedClock,
    Signer,
    altered,
    paid,
    payment,
    sealed,
    sealing_key,
)

Start = Callable[..., Awaitable[Signer]]


async def test_an_authorization_names_user_payment_and_time_and_verifies(signer: Signer) -> None:
    await signer.enrol("user-1")
    intent = payment()
    before_us = signer.clock.now_us()
    authorization = await signer.pay("user-1", PIN, intent)
    assert authorization.user_id == "user-1"
    assert authorization.method is AuthorizationMethod.PIN
    assert authorization.digest == payment_digest(intent)
    assert authorization.signed_at_us == intent.signed_at_us
    assert before_us <= authorization.issued_at_us <= signer.clock.now_us()
    assert authorization.expires_at_us == authorization.issued_at_us + AUTHORIZATION_LIFETIME_US
    (key,) = (key for key in signer.keystore.public_keys() if key.key_id == authorization.key_id)
    assert key.purpose is KeyPurpose.AUTHORIZATION
    Ed25519PublicKey.from_public_bytes(key.public_key).verify(
        authorization.signature, signed_bytes(authorization)
    )


async def test_what_was_signed_is_recorded(signer: Signer) -> None:
    await signer.enrol("user-1")
    authorization = await signer.pay("user-1", PIN)
    assert await signer.store.find_authorization(authorization.digest) == authorization


OTHER: dict[str, Callable[[PaymentIntent], PaymentIntent]] = {
    "kind": lambda intent: intent._replace(kind="WITHDRAWAL"),
    "payer": lambda intent: intent._replace(debit_account=13),
    "payee": lambda intent: intent._replace(credit_account=13),
    "amount": lambda intent: intent._replace(amount=intent.amount + 1),
    "currency": lambda intent: intent._replace(currency="USD"),
    "client": lambda intent: intent._replace(client="loadtest"),
    "key": lambda intent: intent._replace(idempotency_key="another"),
    "sign time": lambda intent: intent._replace(signed_at_us=intent.signed_at_us + 1),
}


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER.keys())
async def test_a_pin_sealed_for_one_payment_approves_no_other(
    signer: Signer, change: Callable[[PaymentIntent], PaymentIntent]
) -> None:
    await signer.enrol("user-1")
    question = signer.question("user-1", PIN, payment())
    other = question._replace(intent=change(paid(question)))
    refusal = await signer.refusal(other)
    assert refusal.reason is Reason.AUTHORIZATION_INVALID
    assert "does not open" in refusal.metadata["why"]
    assert await signer.store.find_authorization(payment_digest(paid(other))) is None


async def test_a_pin_sealed_for_enrolment_approves_no_payment(signer: Signer) -> None:
    await signer.enrol("user-1")
    question = signer.question("user-1", PIN, payment())
    enrolment = signer.sealing().for_enrolment(PIN, "user-1")
    refusal = await signer.refusal(question._replace(proof=enrolment))
    assert refusal.reason is Reason.AUTHORIZATION_INVALID


async def test_an_altered_proof_is_refused(signer: Signer) -> None:
    await signer.enrol("user-1")
    question = signer.question("user-1", PIN, payment())
    for place in (0, 31, 32, 47, 48, 63):
        refusal = await signer.refusal(question._replace(proof=altered(sealed(question), place)))
        assert refusal.reason is Reason.AUTHORIZATION_INVALID
    for key_id in ("sealing-unknown", signer.keystore.signing_key_id):
        refusal = await signer.refusal(
            question._replace(proof=sealed(question)._replace(key_id=key_id))
        )
        assert refusal.reason is Reason.AUTHORIZATION_INVALID
    assert await signer.ask(question)


async def test_a_pin_sealed_to_another_signer_is_refused(signer: Signer) -> None:
    await signer.enrol("user-1")
    question = signer.question("user-1", PIN, payment())
    stranger = sealing_key(KeyRing.generate(now_us=1)).for_payment(PIN, paid(question))
    known_id = stranger._replace(key_id=sealed(question).key_id)
    for proof in (stranger, known_id):
        refusal = await signer.refusal(question._replace(proof=proof))
        assert refusal.reason is Reason.AUTHORIZATION_INVALID


@pytest.mark.parametrize("ahead_s", [-121.0, 121.0])
async def test_a_sign_time_beyond_two_minutes_is_refused(signer: Signer, ahead_s: float) -> None:
    await signer.enrol("user-1")
    refusal = await signer.refusal(signer.question("user-1", PIN, payment(ahead_s)))
    assert refusal.reason is Reason.AUTHORIZATION_EXPIRED


@pytest.mark.parametrize("ahead_s", [-115.0, 115.0])
async def test_a_sign_time_within_two_minutes_is_accepted(signer: Signer, ahead_s: float) -> None:
    await signer.enrol("user-1")
    assert await signer.pay("user-1", PIN, payment(ahead_s))


async def test_a_recorded_verdict_is_not_repeated_once_its_proof_is_stale(start: Start) -> None:
    signer, later = await start(), await start(clock=ShiftedClock(121))
    await signer.enrol("user-1")
    for pin in (PIN, WRONG):
        question = signer.question("user-1", pin, payment())
        if pin is PIN:
            await signer.ask(question)
        else:
            assert (await signer.refusal(question)).reason is Reason.PIN_INCORRECT
        assert (await later.refusal(question)).reason is Reason.AUTHORIZATION_EXPIRED


async def test_an_expired_authorization_is_not_given_out_again(start: Start) -> None:
    signer, later = await start(), await start(clock=ShiftedClock(121))
    await signer.enrol("user-1")
    # The payer's clock runs ahead, so the proof stays fresh for longer than what it earned.
    question = signer.question("user-1", PIN, payment(ahead_s=100))
    await signer.ask(question)
    assert (await later.refusal(question)).reason is Reason.AUTHORIZATION_EXPIRED


async def test_another_proof_for_the_same_payment_gets_the_same_authorization(
    signer: Signer, owner: asyncpg.Connection
) -> None:
    await signer.enrol("user-1")
    intent = payment()
    first = await signer.pay("user-1", PIN, intent)
    assert await signer.pay("user-1", PIN, intent) == first
    refusal = await signer.refusal(signer.question("user-1", WRONG, intent))
    assert refusal.reason is Reason.PIN_INCORRECT
    assert await owner.fetchval("SELECT count(*) FROM signing.authorizations") == 1


async def test_a_recorded_digest_is_not_signed_for_another_user(
    signer: Signer, owner: asyncpg.Connection
) -> None:
    await signer.enrol("user-1")
    await signer.enrol("user-2")
    intent = payment()
    first = await signer.pay("user-1", PIN, intent)
    refusal = await signer.refusal(signer.question("user-2", PIN, intent))
    assert refusal.reason is Reason.AUTHORIZATION_INVALID
    assert await signer.store.find_authorization(first.digest) == first
    assert await owner.fetchval("SELECT count(*) FROM signing.authorizations") == 1


async def test_one_users_verdict_is_not_given_to_another(signer: Signer) -> None:
    await signer.enrol("user-1")
    await signer.enrol("user-2", WRONG)
    question = signer.question("user-1", PIN, payment())
    refusal = await signer.refusal(question._replace(user_id="user-2"))
    assert refusal.reason is Reason.PIN_INCORRECT
    assert (await signer.ask(question)).user_id == "user-1"
    refusal = await signer.refusal(question._replace(user_id="user-2"))
    assert refusal.metadata == {"attempts_left": "4"}


async def test_after_rotation_new_keys_sign_and_old_seals_still_open(
    start: Start, signing_dsn: str, keys: KeyRing
) -> None:
    signer = await start()
    await signer.enrol("user-1")
    rotated = keys
    for purpose in KeyPurpose:
        rotated = rotated.rotated(purpose, now_us=2)
    successor = await Signer.start(signing_dsn, rotated)
    try:
        sealed_before = signer.question("user-1", PIN, payment())
        authorization = await successor.ask(sealed_before)
        assert authorization.key_id == rotated.signing_key_id != keys.signing_key_id
        key = next(
            key
            for key in rotated.public_keys()
            if key.purpose is KeyPurpose.SEALING and key.current
        )
        intent = payment()
        proof = SealingKey(key.key_id, key.public_key).for_payment(PIN, intent)
        sealed_after = sealed_before._replace(intent=intent, proof=proof)
        assert await successor.ask(sealed_after)
        refusal = await signer.refusal(sealed_after._replace(intent=intent))
        assert refusal.reason is Reason.AUTHORIZATION_INVALID
    finally:
        await successor.stop()
