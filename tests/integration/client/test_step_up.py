"""A PIN leaves the client only sealed, and bound to one payment."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from paycore.client import ExternalIdentifier, PaycoreClient, Pin
from paycore.client.errors import AuthorizationInvalidError, UnexpectedReplyError
from paycore.domain.enrolment import enrolment_binding
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.pin import pin_of_plaintext
from paycore.domain.step_up import PaymentIntent, payment_digest
from paycore.runtime.hpke import SUITE
from paycore.signing.v1 import signing_service_pb2
from tests.integration.client.samples import ORDER, submitted
from tests.integration.client.scripted import Script

SECRET = X25519PrivateKey.generate()
DIGITS = "739154"


def keys(*, current: bool = True) -> signing_service_pb2.GetPublicKeysResponse:
    return signing_service_pb2.GetPublicKeysResponse(
        keys=[
            signing_service_pb2.PublicKey(
                key_id="sign-1",
                purpose=signing_service_pb2.KEY_PURPOSE_AUTHORIZATION,
                public_key=b"\1" * 32,
                current=True,
            ),
            signing_service_pb2.PublicKey(
                key_id="seal-1",
                purpose=signing_service_pb2.KEY_PURPOSE_SEALING,
                public_key=SECRET.public_key().public_bytes_raw(),
                current=current,
            ),
        ]
    )


async def test_the_pin_is_sealed_to_exactly_this_payment(
    client: PaycoreClient, script: Script
) -> None:
    script.play(keys(), submitted())
    await client.submit_transfer(replace(ORDER, idempotency_key="pay-1"), pin=Pin(DIGITS))
    sent = script.requests[1]
    assert DIGITS.encode() not in sent.SerializeToString()
    intent = PaymentIntent(
        kind="TRANSFER",
        debit_account=11,
        credit_account=12,
        amount=250,
        currency="EUR",
        client=client.identity,
        idempotency_key="pay-1",
        signed_at_us=sent.step_up.sign_time.ToMicroseconds(),
    )
    sealed = sent.step_up.sealed_pin
    assert sealed.key_id == "seal-1"
    opened = SUITE.decrypt(sealed.ciphertext, SECRET, info=payment_digest(intent))
    assert pin_of_plaintext(opened).reveal() == DIGITS


async def test_the_same_proof_is_sent_again(client: PaycoreClient, script: Script) -> None:
    busy = PaycoreError(Reason.SIGNER_UNAVAILABLE, "busy", retry_after_ms=1)
    script.play(keys(), busy, submitted())
    await client.submit_transfer(ORDER, pin=Pin(DIGITS))
    assert script.requests[1] == script.requests[2]
    assert script.timeouts_s[1] > 1


async def test_the_sealing_key_is_asked_for_once(client: PaycoreClient, script: Script) -> None:
    script.play(keys(), submitted())
    await client.submit_transfer(ORDER, pin=Pin(DIGITS))
    await client.submit_transfer(ORDER, pin=Pin(DIGITS))
    assert len(script.requests) == 3


async def test_a_refused_proof_has_the_key_asked_for_again(
    client: PaycoreClient, script: Script
) -> None:
    script.play(keys(), PaycoreError(Reason.AUTHORIZATION_INVALID, "old key"), keys(), submitted())
    with pytest.raises(AuthorizationInvalidError):
        await client.submit_transfer(ORDER, pin=Pin(DIGITS))
    await client.submit_transfer(ORDER, pin=Pin(DIGITS))
    assert isinstance(script.requests[2], signing_service_pb2.GetPublicKeysRequest)


async def test_enrolment_is_bound_to_the_user(client: PaycoreClient, script: Script) -> None:
    enrolled = signing_service_pb2.EnrollPinResponse()
    enrolled.enroll_time.FromMicroseconds(1_790_000_000_000_000)
    script.play(keys(), enrolled)
    assert (await client.enroll_pin("ada", Pin(DIGITS))).year == 2026
    sealed = script.requests[1].sealed_pin
    opened = SUITE.decrypt(sealed.ciphertext, SECRET, info=enrolment_binding("ada"))
    assert pin_of_plaintext(opened).reveal() == DIGITS


async def test_without_a_current_sealing_key_nothing_is_sent(
    client: PaycoreClient, script: Script
) -> None:
    script.play(keys(current=False))
    with pytest.raises(UnexpectedReplyError, match="no current sealing key"):
        await client.submit_transfer(ORDER, pin=Pin(DIGITS))
    assert len(script.requests) == 1


async def test_an_approval_is_bound_to_ids_not_to_names(
    client: PaycoreClient, script: Script
) -> None:
    script.play(keys())
    name = ExternalIdentifier("stripe", "cus_42")
    for named in (replace(ORDER, debit_account=name), replace(ORDER, credit_account=name)):
        with pytest.raises(ValueError, match="resolve identifiers first"):
            await client.submit_transfer(named, pin=Pin(DIGITS))
    assert len(script.requests) == 1
