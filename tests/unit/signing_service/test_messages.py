"""Requests are checked whole: every violation is named, nothing malformed goes further."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from paycore.domain.device_key import DeviceSignature
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.pin import MAX_SEALED_PIN_BYTES, SealedPin
from paycore.domain.step_up import AuthorizationMethod, GroupIntent, GroupLeg, PaymentIntent
from paycore.signing.v1 import signing_service_pb2 as pb
from paycore.v1 import money_pb2, transfer_pb2
from signing_service import messages
from signing_service.keystore.port import UNPUBLISHED, KeyPurpose


def request() -> pb.AuthorizeRequest:
    made = pb.AuthorizeRequest(user_id="user-1")
    made.payment.kind = transfer_pb2.TRANSFER_KIND_WITHDRAWAL
    made.payment.debit_account_id = 11
    made.payment.credit_account_id = 12
    made.payment.amount.minor_units = 125_000
    made.payment.amount.currency = "EUR"
    made.payment.client = "app"
    made.payment.idempotency_key = "order-1"
    made.step_up.sign_time.FromMicroseconds(1_767_225_600_123_456)
    made.step_up.sealed_pin.key_id = "sealing-1"
    made.step_up.sealed_pin.ciphertext = b"sealed"
    return made


def test_a_whole_request_becomes_exactly_what_was_approved() -> None:
    question = messages.question_of(request())
    assert question.user_id == "user-1"
    assert question.intent == PaymentIntent(
        "WITHDRAWAL", 11, 12, 125_000, "EUR", "app", "order-1", 1_767_225_600_123_456
    )
    assert question.proof == ("sealing-1", b"sealed")


BAD: dict[str, tuple[Callable[[pb.AuthorizeRequest], object], str]] = {
    "no user": (lambda r: r.ClearField("user_id"), "user_id"),
    "a long user": (lambda r: setattr(r, "user_id", "u" * 129), "user_id"),
    "a NUL in the user": (lambda r: setattr(r, "user_id", "u\0"), "user_id"),
    "no kind": (lambda r: r.payment.ClearField("kind"), "payment.kind"),
    "an unknown kind": (lambda r: setattr(r.payment, "kind", 99), "payment.kind"),
    "no payer": (lambda r: r.payment.ClearField("debit_account_id"), "payment.debit_account_id"),
    "a negative payee": (
        lambda r: setattr(r.payment, "credit_account_id", -1),
        "payment.credit_account_id",
    ),
    "no amount": (
        lambda r: r.payment.amount.ClearField("minor_units"),
        "payment.amount.minor_units",
    ),
    "a lower-case currency": (
        lambda r: setattr(r.payment.amount, "currency", "eur"),
        "payment.amount.currency",
    ),
    "no client": (lambda r: r.payment.ClearField("client"), "payment.client"),
    "a key with a letter outside ASCII": (
        lambda r: setattr(r.payment, "idempotency_key", "é"),
        "payment.idempotency_key",
    ),
    "no sign time": (lambda r: r.step_up.ClearField("sign_time"), "step_up.sign_time"),
    "a sign time between microseconds": (
        lambda r: setattr(r.step_up.sign_time, "nanos", 1),
        "step_up.sign_time",
    ),
    "a sign time beyond the year 9999": (
        lambda r: setattr(r.step_up.sign_time, "seconds", 2**62),
        "step_up.sign_time",
    ),
    "no proof": (lambda r: r.step_up.ClearField("sealed_pin"), "step_up.proof"),
    "no sealing key": (
        lambda r: r.step_up.sealed_pin.ClearField("key_id"),
        "step_up.sealed_pin.key_id",
    ),
    "no ciphertext": (
        lambda r: r.step_up.sealed_pin.ClearField("ciphertext"),
        "step_up.sealed_pin.ciphertext",
    ),
    "a huge ciphertext": (
        lambda r: setattr(r.step_up.sealed_pin, "ciphertext", bytes(MAX_SEALED_PIN_BYTES + 1)),
        "step_up.sealed_pin.ciphertext",
    ),
}


@pytest.mark.parametrize(("spoil", "field"), BAD.values(), ids=BAD.keys())
def test_a_bad_field_is_named(spoil: Callable[[pb.AuthorizeRequest], object], field: str) -> None:
    bad = request()
    spoil(bad)
    with pytest.raises(PaycoreError) as raised:
        messages.question_of(bad)
    assert raised.value.reason is Reason.INVALID_FIELD
    assert [violation.field for violation in raised.value.violations] == [field]


def test_a_ciphertext_of_256_bytes_is_the_longest_that_is_looked_at() -> None:
    longest = request()
    longest.step_up.sealed_pin.ciphertext = bytes(256)
    assert messages.question_of(longest).proof == SealedPin("sealing-1", bytes(256))
    assert MAX_SEALED_PIN_BYTES == 256


def test_an_empty_request_names_every_field() -> None:
    with pytest.raises(PaycoreError) as raised:
        messages.question_of(pb.AuthorizeRequest())
    assert len(raised.value.violations) == 10


def group_request() -> pb.AuthorizeRequest:
    made = pb.AuthorizeRequest(user_id="user-1")
    made.group.client = "app"
    made.group.idempotency_key = "payroll-1"
    made.group.payer_account_id = 11
    for payee in (12, 13):
        made.group.legs.add(
            kind=transfer_pb2.TRANSFER_KIND_TRANSFER,
            debit_account_id=11,
            credit_account_id=payee,
            amount=money_pb2.Money(minor_units=payee * 100, currency="EUR"),
        )
    made.step_up.sign_time.FromMicroseconds(1_767_225_600_123_456)
    made.step_up.device_signature.device_id = "0123456789abcdef" * 2
    made.step_up.device_signature.signature = b"signature"
    return made


def test_a_whole_group_becomes_exactly_what_its_payer_approved() -> None:
    question = messages.question_of(group_request())
    assert question.intent == GroupIntent(
        "app",
        "payroll-1",
        11,
        (
            GroupLeg("TRANSFER", 11, 12, 1_200, "EUR"),
            GroupLeg("TRANSFER", 11, 13, 1_300, "EUR"),
        ),
        1_767_225_600_123_456,
    )
    assert question.proof == DeviceSignature("0123456789abcdef" * 2, b"signature")


BAD_GROUP: dict[str, tuple[Callable[[pb.AuthorizeRequest], object], str]] = {
    "no payer": (lambda r: r.group.ClearField("payer_account_id"), "group.payer_account_id"),
    "no legs": (lambda r: r.group.ClearField("legs"), "group.legs"),
    "too many legs": (lambda r: r.group.legs.extend([r.group.legs[0]] * 999), "group.legs"),
    "no client": (lambda r: r.group.ClearField("client"), "group.client"),
    "no key": (lambda r: r.group.ClearField("idempotency_key"), "group.idempotency_key"),
    "a leg without a kind": (
        lambda r: r.group.legs[1].ClearField("kind"),
        "group.legs[1].kind",
    ),
    "a leg without a payee": (
        lambda r: r.group.legs[1].ClearField("credit_account_id"),
        "group.legs[1].credit_account_id",
    ),
    "a leg without an amount": (
        lambda r: r.group.legs[0].amount.ClearField("minor_units"),
        "group.legs[0].amount.minor_units",
    ),
    "a device's name": (
        lambda r: setattr(r.step_up.device_signature, "device_id", "my phone"),
        "step_up.device_signature.device_id",
    ),
    "a long signature": (
        lambda r: setattr(r.step_up.device_signature, "signature", bytes(73)),
        "step_up.device_signature.signature",
    ),
}


@pytest.mark.parametrize(("spoil", "field"), BAD_GROUP.values(), ids=BAD_GROUP.keys())
def test_a_bad_field_of_a_group_is_named(
    spoil: Callable[[pb.AuthorizeRequest], object], field: str
) -> None:
    bad = group_request()
    spoil(bad)
    with pytest.raises(PaycoreError) as raised:
        messages.question_of(bad)
    assert [violation.field for violation in raised.value.violations] == [field]


def test_every_method_and_every_published_purpose_has_a_message() -> None:
    assert set(messages._METHODS) == set(AuthorizationMethod)
    assert set(messages._PURPOSES) == set(KeyPurpose) - UNPUBLISHED
