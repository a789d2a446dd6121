"""A PIN is changed by who knows it, reset and unlocked by who may, and never brought back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.pin import Pin, SealedPin
from signing_service.challenges import LIFETIME_US
from signing_service.keystore.key_ring import KeyRing
from signing_service.keystore.port import KeyPurpose
from tests.integration.signing.signer import (
    PIN,
    WRONG,
    ShiftedClock,
    Signer,
    altered,
    hashes,
    payment,
)
from tests.support.databases import OwnDatabase
from tests.support.locks import until_waiting

Start = Callable[..., Awaitable[Signer]]

NEW = Pin("520867")


async def change(
    signer: Signer, user_id: str, challenge: bytes, old: SealedPin, new: SealedPin
) -> str:
    try:
        await signer.pins.change(
            user_id, challenge, old, new, "app", signer.clock.monotonic_s() + 20
        )
    except PaycoreError as error:
        return error.reason.value
    return "CHANGED"


async def change_to(signer: Signer, user_id: str, old: Pin, new: Pin) -> str:
    challenge = signer.pins.challenge(user_id).value
    return await change(
        signer, user_id, challenge, *signer.sealing().for_change(old, new, user_id, challenge)
    )


async def outcome(signer: Signer, pin: Pin) -> str:
    try:
        await signer.pay("user-1", pin)
    except PaycoreError as error:
        return error.reason.value
    return "AUTHORIZED"


async def enrolment(signer: Signer, sealed: SealedPin) -> str:
    try:
        await signer.pins.enrol("user-1", sealed, "app")
    except PaycoreError as error:
        return error.reason.value
    return "ENROLLED"


async def test_who_knows_the_old_pin_sets_a_new_one(signer: Signer) -> None:
    await signer.enrol("user-1")
    assert await change_to(signer, "user-1", PIN, NEW) == "CHANGED"
    assert await outcome(signer, NEW) == "AUTHORIZED"
    assert await outcome(signer, PIN) == "PIN_INCORRECT"


async def test_guesses_of_the_old_pin_count_like_any_other(signer: Signer) -> None:
    await signer.enrol("user-1")
    for _ in range(3):
        assert await change_to(signer, "user-1", WRONG, NEW) == "PIN_INCORRECT"
    for _ in range(2):
        assert await outcome(signer, WRONG) == "PIN_INCORRECT"
    assert await change_to(signer, "user-1", PIN, NEW) == "PIN_LOCKED"
    assert await outcome(signer, PIN) == "PIN_LOCKED"


async def test_a_carrier_of_a_change_cannot_set_a_pin_of_its_own(
    signer: Signer, owner: asyncpg.Connection
) -> None:
    await signer.enrol("user-1")
    sealing = signer.sealing()
    challenge = signer.pins.challenge("user-1").value
    old, new = sealing.for_change(PIN, NEW, "user-1", challenge)
    _, mine = sealing.for_change(WRONG, Pin("846051"), "user-1", challenge)
    other = signer.pins.challenge("user-1").value
    for attempt in (
        (challenge, old, mine),
        (challenge, old, altered(new, 40)),
        (challenge, altered(old, 40), new),
        (challenge, new, old),
        (other, old, new),
        (challenge, sealing.for_payment(PIN, payment()), new),
        (challenge, old, sealing.for_enrolment(NEW, "user-1")),
    ):
        assert await change(signer, "user-1", *attempt) == "AUTHORIZATION_INVALID"
    assert await owner.fetchval("SELECT count(*) FROM signing.attempts") == 0
    assert await change(signer, "user-1", challenge, old, new) == "CHANGED"


async def test_a_change_sent_again_answers_the_same_and_its_challenge_changes_nothing_else(
    signer: Signer,
) -> None:
    await signer.enrol("user-1")
    sealing = signer.sealing()
    challenge = signer.pins.challenge("user-1").value
    first = sealing.for_change(PIN, NEW, "user-1", challenge)
    assert (
        await asyncio.gather(*(change(signer, "user-1", challenge, *first) for _ in range(3)))
        == ["CHANGED"] * 3
    )
    back = sealing.for_change(NEW, Pin("846051"), "user-1", challenge)
    assert await change(signer, "user-1", challenge, *back) == "AUTHORIZATION_INVALID"
    assert await outcome(signer, NEW) == "AUTHORIZED"
    assert await change_to(signer, "user-1", NEW, PIN) == "CHANGED"
    assert await change(signer, "user-1", challenge, *first) == "AUTHORIZATION_INVALID"
    assert await outcome(signer, PIN) == "AUTHORIZED"


async def test_a_challenge_is_good_for_its_user_and_its_time_only(start: Start) -> None:
    signer, later = await start(), await start(clock=ShiftedClock(LIFETIME_US / 1e6))
    await signer.enrol("user-1")
    await signer.enrol("user-2")
    challenge = signer.pins.challenge("user-1").value
    theirs = signer.sealing().for_change(PIN, NEW, "user-2", challenge)
    assert await change(signer, "user-2", challenge, *theirs) == "AUTHORIZATION_INVALID"
    mine = signer.sealing().for_change(PIN, NEW, "user-1", challenge)
    assert await change(later, "user-1", challenge, *mine) == "AUTHORIZATION_EXPIRED"
    for place in range(len(challenge)):
        forged = bytearray(challenge)
        forged[place] ^= 1
        both = signer.sealing().for_change(PIN, NEW, "user-1", bytes(forged))
        assert await change(signer, "user-1", bytes(forged), *both) == "AUTHORIZATION_INVALID"
    for forged_whole in (b"", challenge[:-1], challenge + b"\0", bytes(160), bytes(10_000)):
        both = signer.sealing().for_change(PIN, NEW, "user-1", forged_whole)
        assert await change(signer, "user-1", forged_whole, *both) == "AUTHORIZATION_INVALID"
    assert await change(signer, "user-1", challenge, *mine) == "CHANGED"


async def test_a_weak_new_pin_is_refused_before_the_old_one_is_looked_at(
    signer: Signer, owner: asyncpg.Connection
) -> None:
    await signer.enrol("user-1")
    assert await change_to(signer, "user-1", PIN, Pin("123456")) == "PIN_TOO_WEAK"
    assert await owner.fetchval("SELECT count(*) FROM signing.attempts") == 0


async def test_a_reset_ends_the_pin_and_lets_another_be_enrolled(signer: Signer) -> None:
    sealed = signer.sealing().for_enrolment(PIN, "user-1")
    assert await enrolment(signer, sealed) == "ENROLLED"
    await signer.pins.reset("user-1", "forgotten", "operator")
    assert await outcome(signer, PIN) == "PIN_INCORRECT"
    assert await change_to(signer, "user-1", PIN, NEW) == "PIN_INCORRECT"
    # The enrolment that the reset undid, recorded by somebody on the way.
    assert await enrolment(signer, sealed) == "AUTHORIZATION_INVALID"
    assert await enrolment(signer, signer.sealing().for_enrolment(NEW, "user-1")) == "ENROLLED"
    assert await outcome(signer, NEW) == "AUTHORIZED"
    assert await enrolment(signer, sealed) == "PIN_ALREADY_ENROLLED"


async def test_an_enrolment_meets_a_reset_or_an_erasure_and_neither_fails(
    signer: Signer, owner: asyncpg.Connection, database: OwnDatabase
) -> None:
    await signer.enrol("user-1")
    await signer.pins.reset("user-1", "forgotten", "operator")
    sealed = signer.sealing().for_enrolment(NEW, "user-1")
    async with owner.transaction():
        await owner.execute(
            "SELECT FROM signing.attempt_counters WHERE user_id = 'user-1' FOR UPDATE"
        )
        enrolling = asyncio.create_task(enrolment(signer, sealed))
        await until_waiting(database, role="paycore_signing")
        # Each locks the counter first: with the PIN before it, both would wait for ever.
        await owner.execute("SELECT signing.forget_approvals('user-1')")
    assert await enrolling == "ENROLLED"
    assert await outcome(signer, NEW) == "AUTHORIZED"


async def test_no_pin_of_before_comes_back_after_several_resets(signer: Signer) -> None:
    recorded = []
    for digits in ("739164", "520867", "846051"):
        recorded.append(signer.sealing().for_enrolment(Pin(digits), "user-1"))
        assert await enrolment(signer, recorded[-1]) == "ENROLLED"
        await signer.pins.reset("user-1", "forgotten", "operator")
    for sealed in recorded:
        assert await enrolment(signer, sealed) == "AUTHORIZATION_INVALID"


async def test_an_unlock_ends_a_lock_and_the_next_one_is_as_long_as_it_would_have_been(
    signer: Signer, owner: asyncpg.Connection
) -> None:
    await signer.enrol("user-1")
    for _ in range(5):
        await outcome(signer, WRONG)
    assert await outcome(signer, PIN) == "PIN_LOCKED"
    await signer.pins.unlock("user-1", "identified by phone", "operator")
    refusal = await signer.refusal(signer.question("user-1", WRONG, payment()))
    assert refusal.metadata == {"attempts_left": "4"}
    for _ in range(4):
        await outcome(signer, WRONG)
    minutes = await owner.fetchval(
        "SELECT round((locked_until_us - signing.now_us()) / 60e6)::int"
        " FROM signing.attempt_counters"
    )
    assert minutes == 60
    await signer.pins.unlock("user-1", "identified by phone", "operator")
    assert await outcome(signer, PIN) == "AUTHORIZED"


@pytest.mark.parametrize("ended_by", ["a change", "a reset"])
async def test_a_pin_that_ended_while_it_was_checked_earns_nothing(
    signer: Signer, ended_by: str
) -> None:
    await signer.enrol("user-1")
    reserved = await signer.store.reserve(
        "user-1", proof=b"p" * 32, digest=b"d" * 32, fresh_until_us=2**62
    )
    if ended_by == "a change":
        assert await change_to(signer, "user-1", PIN, NEW) == "CHANGED"
    else:
        await signer.pins.reset("user-1", "stolen", "operator")

    async def earn(_: object) -> None:
        raise AssertionError("earned by a PIN that is no longer in force")

    decided = await signer.store.record_success("user-1", reserved, earn)  # type: ignore[arg-type]
    assert decided.verdict == "ABANDONED"
    assert decided.attempts_left == 4


async def test_a_user_without_a_pin_cannot_be_told_apart(signer: Signer) -> None:
    await signer.enrol("user-1")
    seen = {}
    for user in ("user-1", "nobody"):
        before = hashes()
        outcomes = [await change_to(signer, user, WRONG, NEW) for _ in range(6)]
        await signer.pins.unlock(user, "a call", "operator")
        outcomes.append(await change_to(signer, user, WRONG, NEW))
        seen[user] = (outcomes, hashes() - before, len(signer.pins.challenge(user).value))
        await signer.pins.reset(user, "a call", "operator")
    assert seen["user-1"] == seen["nobody"]
    assert seen["nobody"][0] == ["PIN_INCORRECT"] * 5 + ["PIN_LOCKED", "PIN_INCORRECT"]


async def test_an_enrolment_costs_the_same_where_a_pin_is_in_force(signer: Signer) -> None:
    costs = []
    for _ in range(2):
        before = hashes()
        await enrolment(signer, signer.sealing().for_enrolment(PIN, "user-1"))
        costs.append(hashes() - before)
    assert costs == [1, 1]


async def test_a_correct_pin_is_hashed_again_with_the_new_pepper(
    start: Start, signing_dsn: str, keys: KeyRing, owner: asyncpg.Connection
) -> None:
    signer = await start()
    await signer.enrol("user-1")
    rotated = keys.rotated(KeyPurpose.PEPPER, now_us=2)
    successor = await Signer.start(signing_dsn, rotated)
    pepper = "SELECT pepper_id FROM signing.pins"
    try:
        assert await outcome(successor, WRONG) == "PIN_INCORRECT"
        assert await owner.fetchval(pepper) == keys.pepper_id
        both = await asyncio.gather(*(outcome(successor, PIN) for _ in range(3)))
        assert both == ["AUTHORIZED"] * 3
        assert await owner.fetchval(pepper) == rotated.pepper_id != keys.pepper_id
        before = hashes()
        assert await outcome(successor, PIN) == "AUTHORIZED"
        assert hashes() - before == 1
    finally:
        await successor.stop()
    # A process that was not started again lacks the pepper: it refuses, and counts nothing.
    for pin in (PIN, WRONG):
        assert await outcome(signer, pin) == "SIGNER_UNAVAILABLE"
    assert await owner.fetchval("SELECT count(*) FROM signing.attempts WHERE verdict IS NULL") == 0


async def test_only_used_challenges_are_kept_and_only_for_their_time(
    signer: Signer, owner: asyncpg.Connection
) -> None:
    await signer.enrol("user-1")
    for _ in range(50):
        signer.pins.challenge("user-1")
    assert await change_to(signer, "user-1", PIN, NEW) == "CHANGED"
    count = "SELECT count(*) FROM signing.spent_challenges"
    assert await owner.fetchval(count) == 1
    assert await signer.store.remove_spent_challenges(0, 100) == 0
    await owner.execute("UPDATE signing.spent_challenges SET expires_at_us = 0")
    assert await signer.store.remove_spent_challenges(0, 100) == 1
    assert await owner.fetchval(count) == 0


async def test_a_reset_of_who_has_no_pin_is_no_error(signer: Signer) -> None:
    await signer.pins.reset("nobody", "a mistake", "operator")
    refusal = await signer.refusal(signer.question("nobody", PIN, payment()))
    assert refusal.reason is Reason.PIN_INCORRECT
