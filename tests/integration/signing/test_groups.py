"""A payer approves their part of a group, as a part of the whole, with a PIN or a device."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from paycore.domain.errors import Reason
from paycore.domain.step_up import GroupIntent, GroupLeg, group_digest, payment_digest
from signing_service.authorizer import Question
from tests.integration.signing.device import TestDevice
from tests.integration.signing.signer import PIN, WRONG, Signer, payment

LEGS = (
    GroupLeg("TRANSFER", 11, 12, 100_000, "EUR"),
    GroupLeg("TRANSFER", 11, 13, 25_000, "EUR"),
    GroupLeg("TRANSFER", 21, 11, 7_000, "EUR"),
)


def group(payer: int = 11) -> GroupIntent:
    single = payment()
    return GroupIntent("app", single.idempotency_key, payer, LEGS, single.signed_at_us)


def with_pin(signer: Signer, user_id: str, intent: GroupIntent) -> Question:
    return Question(user_id, intent, signer.sealing().for_group(PIN, intent))


async def test_a_pin_and_a_device_approve_a_payers_part(signer: Signer) -> None:
    await signer.enrol("user-1")
    device = await TestDevice.new().enrol(signer, "user-1")
    by_pin, by_device = group(), group()
    assert (await signer.ask(with_pin(signer, "user-1", by_pin))).digest == group_digest(by_pin)
    approved = await signer.ask(device.approve("user-1", by_device))
    assert approved.digest == group_digest(by_device)


async def test_each_payer_of_a_group_approves_for_themselves(signer: Signer) -> None:
    for user in ("user-1", "user-2"):
        await signer.enrol(user)
    one = group()
    other = one._replace(payer=21)
    assert await signer.ask(with_pin(signer, "user-1", one))
    theirs = await signer.ask(with_pin(signer, "user-2", other))
    assert theirs.user_id == "user-2"
    assert theirs.digest == group_digest(other) != group_digest(one)


def legs(index: int, **fields: object) -> Callable[[GroupIntent], GroupIntent]:
    def change(intent: GroupIntent) -> GroupIntent:
        changed = list(intent.legs)
        changed[index] = changed[index]._replace(**fields)  # type: ignore[arg-type]
        return intent._replace(legs=tuple(changed))

    return change


OTHER: dict[str, Callable[[GroupIntent], GroupIntent]] = {
    "client": lambda intent: intent._replace(client="loadtest"),
    "key": lambda intent: intent._replace(idempotency_key="another"),
    "payer": lambda intent: intent._replace(payer=21),
    "payee": legs(1, credit_account=99),
    "amount": legs(0, amount=100_001),
    "kind": legs(0, kind="HOLD"),
    "another payer's amount": legs(2, amount=7_001),
    "another payer's payee": legs(2, credit_account=12),
    "a leg less": lambda intent: intent._replace(legs=intent.legs[:2]),
    "a leg more": lambda intent: intent._replace(legs=(*intent.legs, LEGS[0])),
    "order": lambda intent: intent._replace(legs=(LEGS[1], LEGS[0], LEGS[2])),
    "sign time": lambda intent: intent._replace(signed_at_us=intent.signed_at_us + 1),
}


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER.keys())
async def test_an_approval_of_one_group_is_none_of_another(
    signer: Signer, change: Callable[[GroupIntent], GroupIntent]
) -> None:
    await signer.enrol("user-1")
    device = await TestDevice.new().enrol(signer, "user-1")
    intent = group()
    for question in (with_pin(signer, "user-1", intent), device.approve("user-1", intent)):
        other = question._replace(intent=change(intent))
        assert (await signer.refusal(other)).reason is Reason.AUTHORIZATION_INVALID
        assert await signer.store.find_authorization(group_digest(change(intent))) is None


async def test_a_payments_approval_is_none_of_a_group_of_it_alone(signer: Signer) -> None:
    await signer.enrol("user-1")
    single = payment()
    leg = GroupLeg(
        single.kind, single.debit_account, single.credit_account, single.amount, single.currency
    )
    alone = GroupIntent(
        single.client, single.idempotency_key, single.debit_account, (leg,), single.signed_at_us
    )
    assert group_digest(alone) != payment_digest(single)
    question = signer.question("user-1", PIN, single)
    refusal = await signer.refusal(question._replace(intent=alone))
    assert refusal.reason is Reason.AUTHORIZATION_INVALID


async def test_a_group_without_a_leg_of_its_payer_is_refused_before_the_pin(
    signer: Signer,
) -> None:
    await signer.enrol("user-1")
    sealed = signer.sealing().for_payment(WRONG, payment())
    mixed = (*LEGS, LEGS[0]._replace(currency="USD"))
    for intent in (group(payer=12), group()._replace(legs=mixed)):
        refusal = await signer.refusal(Question("user-1", intent, sealed))
        assert refusal.reason is Reason.AUTHORIZATION_INVALID
        assert "no digest" in refusal.metadata["why"]
