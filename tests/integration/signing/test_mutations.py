"""Nothing near to what was approved is approved: altered, swapped, stale, replayed, forged."""

from __future__ import annotations

from collections import Counter

import asyncpg
import pytest

from command_service.admission.signer_keys import AuthorizationKeys
from operations.verify_authorization import UnreadableError, verify
from paycore.domain.device_key import DeviceAlgorithm
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.pin import Pin
from paycore.domain.step_up import Authorization, GroupIntent, GroupLeg, Intent, intent_digest
from paycore.runtime.clock import SystemClock
from signing_service.authorizer import Question
from signing_service.keystore.port import KeyPurpose
from tests.integration.signing import mutations
from tests.integration.signing.device import TestDevice
from tests.integration.signing.mutations import Approved
from tests.integration.signing.signer import PIN, Signer, payment
from tests.support.seeds import rounds, seeded

KINDS = 3
ROUNDS = -(-rounds("PAYCORE_MUTATIONS", 1_200) // KINDS)
"""Of each kind: questions, authorizations, changes of PINs."""

REFUSALS = {Reason.AUTHORIZATION_INVALID, Reason.AUTHORIZATION_EXPIRED}
OTHER_PIN = Pin("520867")
USERS = ("user-1", "user-2")


def group() -> GroupIntent:
    single = payment()
    legs = (
        GroupLeg("TRANSFER", 11, 12, 70_000, "EUR"),
        GroupLeg("HOLD", 11, 13, 30_000, "EUR"),
        GroupLeg("TRANSFER", 21, 12, 5_000, "USD"),
    )
    return GroupIntent("app", single.idempotency_key, 11, legs, single.signed_at_us)


@pytest.fixture
async def approved(signer: Signer) -> Approved:
    """Payments and groups of two users, by PIN and by devices of both algorithms."""
    questions: list[Question] = []
    device_ids = []
    for user, pin in zip(USERS, (PIN, OTHER_PIN), strict=True):
        await signer.enrol(user, pin)
        devices = [
            await TestDevice.new(algorithm).enrol(signer, user, pin)
            for algorithm in DeviceAlgorithm
        ]
        device_ids += [device.device_id for device in devices]
        questions.append(signer.question(user, pin, payment()))
        whole = group()
        questions.append(Question(user, whole, signer.sealing().for_group(pin, whole)))
        for device in devices:
            questions += [device.approve(user, payment()), device.approve(user, group())]
    key_ids = [entry.key_id for entry in signer.keystore.inventory()]
    return Approved(questions, list(USERS), [*key_ids, "", "unknown"], device_ids)


async def test_no_altered_proof_or_payment_is_authorized(
    signer: Signer, approved: Approved, owner: asyncpg.Connection
) -> None:
    rng = seeded("mutations of questions")
    state = "SELECT count(*) FROM signing.attempts"
    attempts = await owner.fetchval(state)
    seen: Counter[Reason] = Counter()
    for _ in range(ROUNDS):
        question = mutations.altered_question(rng, approved)
        refusal = await signer.refusal(question)
        assert refusal.reason in REFUSALS, (refusal, question)
        seen[refusal.reason] += 1
    assert seen.keys() == REFUSALS
    # None of it was a guess at a PIN, and none of it left anything.
    assert await owner.fetchval(state) == attempts
    assert await owner.fetchval("SELECT count(*) FROM signing.authorizations") == 0
    for question in approved.questions:
        assert (await signer.ask(question)).digest == intent_digest(question.intent)


async def test_a_pin_sealed_for_one_user_is_a_counted_guess_at_anothers(
    signer: Signer, approved: Approved
) -> None:
    question = approved.questions[0]
    refusal = await signer.refusal(question._replace(user_id="user-2"))
    assert refusal.reason is Reason.PIN_INCORRECT
    assert refusal.metadata == {"attempts_left": "4"}


async def test_no_altered_authorization_verifies(signer: Signer, approved: Approved) -> None:
    rng = seeded("mutations of authorizations")
    published = {
        key.key_id: key.public_key
        for key in signer.keystore.public_keys()
        if key.purpose is KeyPurpose.AUTHORIZATION
    }

    async def fetch() -> dict[str, bytes]:
        return published

    commands_keys = AuthorizationKeys(fetch, SystemClock())
    genuine: list[tuple[Authorization, Intent]] = [
        (await signer.ask(question), question.intent) for question in approved.questions
    ]
    for authorization, intent in genuine:
        assert verify(mutations.record_fields(authorization, intent), published) is None
        await commands_keys.verify(authorization)
    for _ in range(ROUNDS):
        authorization, intent = mutations.altered_record(rng, genuine)
        try:
            why = verify(mutations.record_fields(authorization, intent), published)
        except UnreadableError as error:
            why = str(error)
        assert why is not None, (authorization, intent)
        # The command service compares the digest, then asks its keys.
        if all(authorization != one for one, _ in genuine):
            with pytest.raises(PaycoreError) as raised:
                await commands_keys.verify(authorization)
            assert raised.value.reason is Reason.AUTHORIZATION_INVALID
        else:
            with_another = next(one for one in genuine if one[0] == authorization)
            assert with_another[1] != intent


async def test_no_altered_sealed_pin_or_challenge_changes_anything(
    signer: Signer, approved: Approved, owner: asyncpg.Connection
) -> None:
    rng = seeded("mutations of changes")
    before = await owner.fetch("SELECT user_id, proof FROM signing.pins ORDER BY user_id")
    attempts = await owner.fetchval("SELECT count(*) FROM signing.attempts")
    in_time = signer.clock.monotonic_s() + 3_600
    for _ in range(ROUNDS):
        challenge = signer.pins.challenge("user-1").value
        old, new = signer.sealing().for_change(PIN, Pin("846051"), "user-1", challenge)
        match rng.randrange(4):
            case 0:
                challenge = mutations.altered_bytes(rng, challenge)
            case 1:
                old = mutations.altered_fields(rng, old)
            case 2:
                new = mutations.altered_fields(rng, new)
            case _:
                old, new = new, old
        with pytest.raises(PaycoreError) as raised:
            await signer.pins.change("user-1", challenge, old, new, "app", in_time)
        assert raised.value.reason in REFUSALS
    assert await owner.fetch("SELECT user_id, proof FROM signing.pins ORDER BY user_id") == before
    assert await owner.fetchval("SELECT count(*) FROM signing.attempts") == attempts
