"""A first PIN is set once, by a sealed PIN bound to its user."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.pin import Pin
from tests.integration.signing.signer import PIN, WRONG, Signer, altered, payment


async def reason(signer: Signer, user_id: str, pin: Pin) -> str:
    try:
        await signer.enrol(user_id, pin)
    except PaycoreError as error:
        return error.reason.value
    return "ENROLLED"


async def test_an_enrolled_pin_approves_payments(signer: Signer) -> None:
    before_us = signer.clock.now_us() - 60_000_000
    assert before_us < await signer.enrol("user-1") < before_us + 120_000_000
    assert (await signer.pay("user-1", PIN)).user_id == "user-1"


async def test_a_pin_that_exists_is_not_replaced(signer: Signer) -> None:
    await signer.enrol("user-1")
    assert await reason(signer, "user-1", WRONG) == "PIN_ALREADY_ENROLLED"
    assert await reason(signer, "user-1", PIN) == "PIN_ALREADY_ENROLLED"
    assert await signer.pay("user-1", PIN)
    refusal = await signer.refusal(signer.question("user-1", WRONG, payment()))
    assert refusal.reason is Reason.PIN_INCORRECT


async def test_the_same_enrolment_sent_again_gets_the_same_answer(signer: Signer) -> None:
    sealed = signer.sealing().for_enrolment(PIN, "user-1")
    times = await asyncio.gather(*(signer.pins.enrol("user-1", sealed, "app") for _ in range(5)))
    assert len(set(times)) == 1


async def test_of_parallel_enrolments_one_wins(signer: Signer, owner: asyncpg.Connection) -> None:
    pins = [Pin(f"{739_164 + number}") for number in range(8)]
    outcomes = await asyncio.gather(*(reason(signer, "user-1", pin) for pin in pins))
    assert sorted(outcomes) == ["ENROLLED"] + ["PIN_ALREADY_ENROLLED"] * 7
    assert await signer.pay("user-1", pins[outcomes.index("ENROLLED")])
    assert await owner.fetchval("SELECT count(*) FROM signing.pins") == 1


@pytest.mark.parametrize("digits", ["0000", "1234", "987654", "121212", "112233"])
async def test_a_weak_pin_is_refused(signer: Signer, digits: str) -> None:
    with pytest.raises(PaycoreError) as raised:
        await signer.enrol("user-1", Pin(digits))
    assert raised.value.reason is Reason.PIN_TOO_WEAK
    assert digits not in f"{raised.value} {raised.value.metadata}"
    assert await signer.enrol("user-1", PIN)


async def test_a_pin_sealed_for_another_user_or_a_payment_is_refused(signer: Signer) -> None:
    for sealed in (
        signer.sealing().for_enrolment(PIN, "user-2"),
        signer.sealing().for_payment(PIN, payment()),
        altered(signer.sealing().for_enrolment(PIN, "user-1"), 50),
    ):
        with pytest.raises(PaycoreError) as raised:
            await signer.pins.enrol("user-1", sealed, "app")
        assert raised.value.reason is Reason.AUTHORIZATION_INVALID


async def test_guesses_from_before_the_enrolment_do_not_count_after_it(signer: Signer) -> None:
    for _ in range(5):
        await signer.refusal(signer.question("user-1", WRONG, payment()))
    refusal = await signer.refusal(signer.question("user-1", WRONG, payment()))
    assert refusal.reason is Reason.PIN_LOCKED
    await signer.enrol("user-1")
    assert await signer.pay("user-1", PIN)


async def test_a_record_copied_to_another_user_opens_nothing(
    signer: Signer, owner: asyncpg.Connection
) -> None:
    await signer.enrol("attacker", WRONG)
    await owner.execute(
        "INSERT INTO signing.pins (user_id, pepper_id, encoded_hash, proof)"
        " SELECT 'victim', pepper_id, encoded_hash, proof FROM signing.pins"
    )
    refusal = await signer.refusal(signer.question("victim", WRONG, payment()))
    assert refusal.reason is Reason.PIN_INCORRECT
