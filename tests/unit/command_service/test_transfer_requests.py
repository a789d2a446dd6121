"""Any request is either translated faithfully or refused with every bad field named."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import example, given
from hypothesis import strategies as st

from command_service.admission.proof import ParsedTransfer
from command_service.servicers.fields import MAX_AMOUNT
from command_service.servicers.transfer_requests import parse_transfer
from paycore.domain.device_key import DeviceSignature
from paycore.domain.errors import PaycoreError, Reason
from paycore.v1 import actor_pb2, money_pb2, step_up_pb2, transfer_service_pb2

SECRET = bytes(32)

texts = st.one_of(
    st.just(""),
    st.text(max_size=12),
    st.sampled_from(("plain", "a\x00b", "a\nb", "a\x1fb", "é", "\u2028", "x" * 128, "x" * 600)),
)
numbers = st.sampled_from((0, 1, -1, 7, 2**62, 2**62 + 1, 2**63 - 1, -(2**63)))
requests = st.fixed_dictionaries(
    {},
    optional={
        "idempotency_key": texts,
        "kind": st.integers(-1, 11),
        "debit_account_id": numbers,
        "credit_account_id": numbers,
        "amount": st.builds(
            money_pb2.Money,
            minor_units=numbers,
            currency=st.sampled_from(("EUR", "JPY", "eur", "ZZZ", "", "XAU", "EUR\x00")),
        ),
        "reference": texts,
        "description": texts,
        "metadata": st.dictionaries(texts, texts, max_size=3),
        "actor": st.builds(
            actor_pb2.Actor,
            user_id=texts,
            device_id=texts,
            ip_address=st.sampled_from(("", "::1", "10.0.0.1", "10.0.0.999", "host")),
        ),
        "effective_time": st.builds(
            Timestamp,
            seconds=st.sampled_from((0, -62_135_596_801, 253_402_300_799, 2**62)),
            nanos=st.sampled_from((0, 999_999_999, -1, 2**31 - 1)),
        ),
        "step_up": st.builds(
            step_up_pb2.StepUp,
            sign_time=st.one_of(st.none(), st.just(Timestamp(seconds=1))),
            sealed_pin=st.one_of(
                st.none(),
                st.builds(
                    step_up_pb2.SealedPin,
                    key_id=texts,
                    ciphertext=st.sampled_from((b"", b"c", b"c" * 257)),
                ),
            ),
        ),
    },
)
GOOD: dict[str, Any] = {
    "idempotency_key": "k",
    "kind": 1,
    "debit_account_id": 1,
    "credit_account_id": 2,
    "amount": money_pb2.Money(minor_units=1, currency="EUR"),
}


def printable(text: str, longest: int) -> bool:
    return len(text) <= longest and text.isprintable()


def sound(request: transfer_service_pb2.SubmitTransferRequest) -> bool:
    """What the contract's comments say of the fields that every request has."""
    key = request.idempotency_key
    return (
        0 < len(key) <= 128
        and key.isascii()
        and key.isprintable()
        and request.kind in (1, 2, 3, 9, 10)
        and request.debit_account_id > 0
        and request.credit_account_id > 0
        and 0 < request.amount.minor_units <= MAX_AMOUNT
        and request.amount.currency in ("EUR", "JPY")
        and printable(request.reference, 128)
        and printable(request.description, 512)
        and all(len(name) > 0 and printable(name, 64) for name in request.metadata)
        and all(value.isprintable() for value in request.metadata.values())
        and sum(len(k.encode()) + len(v.encode()) for k, v in request.metadata.items()) <= 4_096
        and printable(request.actor.user_id, 128)
        and printable(request.actor.device_id, 128)
        and request.actor.ip_address in ("", "::1", "10.0.0.1")
        and 0 <= request.effective_time.nanos < 10**9
        and request.effective_time.seconds in (0, 253_402_300_799)
        and (
            not request.HasField("step_up")
            or (
                request.step_up.HasField("sign_time")
                and request.step_up.HasField("sealed_pin")
                and len(request.step_up.sealed_pin.key_id) > 0
                and printable(request.step_up.sealed_pin.key_id, 128)
                and request.step_up.sealed_pin.ciphertext == b"c"
            )
        )
    )


def parse(
    request: transfer_service_pb2.SubmitTransferRequest,
) -> tuple[ParsedTransfer | None, PaycoreError | None]:
    """What came of `request`, and else why nothing did."""
    try:
        return parse_transfer(request, "shop", SECRET), None
    except PaycoreError as error:
        return None, error


@given(requests, st.booleans())
@example({"amount": money_pb2.Money(minor_units=1, currency="EUR\x00")}, True)
def test_a_request_is_translated_or_every_fault_is_named(
    given_fields: dict[str, Any], on_good: bool
) -> None:
    fields = {**GOOD, **given_fields} if on_good else given_fields
    request = transfer_service_pb2.SubmitTransferRequest(**fields)
    parsed, error = parse(request)
    if parsed is None:
        assert error is not None
        assert error.reason is Reason.INVALID_FIELD
        assert error.violations
        assert not sound(request)
        top_level = {violation.field.partition(".")[0] for violation in error.violations}
        assert top_level <= {field.name for field in request.DESCRIPTOR.fields}
        return
    assert sound(request)
    command = parsed.command
    assert (command.client, command.key) == ("shop", request.idempotency_key)
    assert command.amount == request.amount.minor_units
    assert command.currency == request.amount.currency
    assert (command.debit_account, command.credit_account) == (
        request.debit_account_id,
        request.credit_account_id,
    )
    assert (command.reference or "") == request.reference
    details = command.details
    assert (command.details_hash is None) == (details is None)
    if details is not None:
        assert details.description == request.description
        assert dict(details.metadata or {}) == dict(request.metadata)
        assert details.user_id == request.actor.user_id
    else:
        assert not request.description
        assert not request.metadata
    assert (parsed.proof is not None) == request.HasField("step_up")


def test_in_a_batch_the_place_is_named() -> None:
    bad = transfer_service_pb2.SubmitTransferRequest(**{**GOOD, "idempotency_key": ""})
    with pytest.raises(PaycoreError) as refusal:
        parse_transfer(bad, "shop", SECRET, 7)
    named = [violation.field for violation in refusal.value.violations]
    assert named == ["transfers[7].idempotency_key"]


def test_a_devices_signature_is_a_proof_and_its_fields_are_bounded() -> None:
    def request(device_id: str, signature: bytes) -> transfer_service_pb2.SubmitTransferRequest:
        device = step_up_pb2.DeviceSignature(device_id=device_id, signature=signature)
        step_up = step_up_pb2.StepUp(sign_time=Timestamp(seconds=1), device_signature=device)
        return transfer_service_pb2.SubmitTransferRequest(**GOOD, step_up=step_up)

    parsed = parse_transfer(request("0" * 32, b"s"), "shop", SECRET)
    assert parsed.proof == (DeviceSignature("0" * 32, b"s"), 1_000_000)
    for device_id, signature in (("0" * 31, b""), ("G" * 32, bytes(73)), ("0\0" * 16, b"")):
        with pytest.raises(PaycoreError) as refusal:
            parse_transfer(request(device_id, signature), "shop", SECRET)
        assert {violation.field for violation in refusal.value.violations} == {
            "step_up.device_signature.device_id",
            "step_up.device_signature.signature",
        }


def test_step_up_and_actor_do_not_change_what_the_request_is() -> None:
    plain = transfer_service_pb2.SubmitTransferRequest(**GOOD)
    proven = transfer_service_pb2.SubmitTransferRequest(
        **GOOD,
        expected_debit_version=3,
        actor=actor_pb2.Actor(user_id="u"),
        step_up=step_up_pb2.StepUp(
            sign_time=Timestamp(seconds=1),
            sealed_pin=step_up_pb2.SealedPin(key_id="k", ciphertext=b"c"),
        ),
    )
    one, other = (parse_transfer(request, "shop", SECRET) for request in (plain, proven))
    assert one.command.request_hash == other.command.request_hash
