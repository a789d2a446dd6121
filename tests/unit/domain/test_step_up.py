"""The encodings that proofs and signatures are made over, against examples in a file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import assume, given
from hypothesis import strategies as st

from paycore.domain.enrolment import enrolment_binding
from paycore.domain.step_up import (
    SIGN_TIME_WINDOW_US,
    Authorization,
    AuthorizationMethod,
    GroupIntent,
    GroupLeg,
    PaymentIntent,
    authorization_bytes,
    group_bytes,
    group_digest,
    intent_digest,
    is_fresh,
    payment_bytes,
    payment_digest,
    signed_bytes,
)

VECTORS: dict[str, Any] = json.loads(
    Path(__file__).with_name("step_up_vectors.json").read_text(encoding="utf-8")
)
INTEGERS = {
    "debit_account",
    "credit_account",
    "amount",
    "signed_at_us",
    "id",
    "issued_at_us",
    "expires_at_us",
    "payer",
}


def named(section: str) -> list[Any]:
    entries = VECTORS[section]
    assert entries
    return [pytest.param(entry, id=entry.get("name", entry.get("user_id"))) for entry in entries]


def decoded(fields: dict[str, str]) -> dict[str, Any]:
    return {name: int(text) if name in INTEGERS else text for name, text in fields.items()}


def intent_of(entry: dict[str, Any]) -> PaymentIntent:
    intent = PaymentIntent(**decoded(entry["payment"]))
    return intent._replace(client=intent.client * entry.get("repeat_client", 1))


def group_of(entry: dict[str, Any]) -> GroupIntent:
    fields = entry["group"]
    legs = tuple(GroupLeg(**decoded(leg)) for leg in fields["legs"])
    rest = {name: value for name, value in fields.items() if name != "legs"}
    intent = GroupIntent(**decoded(rest), legs=legs)
    return intent._replace(client=intent.client * entry.get("repeat_client", 1))


def authorization_of(entry: dict[str, Any]) -> Authorization:
    fields = decoded(entry["authorization"])
    fields["method"] = AuthorizationMethod(fields["method"])
    fields["digest"] = bytes.fromhex(fields["digest"])
    return Authorization(**fields, signature=bytes.fromhex(entry["signature"]), signed_at_us=0)


def verify(entry: dict[str, Any]) -> None:
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(entry["public_key"]))
    authorization = authorization_of(entry)
    key.verify(authorization.signature, signed_bytes(authorization))


@pytest.mark.parametrize("entry", named("payments"))
def test_a_payment_has_its_encoding_and_digest(entry: dict[str, Any]) -> None:
    intent = intent_of(entry)
    assert payment_bytes(intent).hex() == entry["encoding"]
    assert payment_digest(intent).hex() == entry["digest"]


@pytest.mark.parametrize("entry", named("payments_with_another_digest"))
def test_another_payment_has_another_digest(entry: dict[str, Any]) -> None:
    assert payment_digest(intent_of(entry)).hex() != entry["not_digest"]


@pytest.mark.parametrize("entry", named("payments_without_encoding"))
def test_a_payment_out_of_bounds_has_no_encoding(entry: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"int64|65,535"):
        payment_digest(intent_of(entry))


@pytest.mark.parametrize("entry", named("groups"))
def test_a_payers_part_of_a_group_has_its_encoding_and_digest(entry: dict[str, Any]) -> None:
    assert group_bytes(group_of(entry)).hex() == entry["encoding"]
    assert intent_digest(group_of(entry)).hex() == entry["digest"]


@pytest.mark.parametrize("entry", named("groups_with_another_digest"))
def test_another_group_has_another_digest(entry: dict[str, Any]) -> None:
    assert group_digest(group_of(entry)).hex() != entry["not_digest"]


@pytest.mark.parametrize("entry", named("groups_without_encoding"))
def test_a_group_out_of_bounds_has_no_encoding(entry: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"int64|65,535|in one currency"):
        group_digest(group_of(entry))


@pytest.mark.parametrize("entry", named("enrolments"))
def test_an_enrolment_has_its_binding(entry: dict[str, Any]) -> None:
    assert enrolment_binding(entry["user_id"]).hex() == entry["binding"]


@pytest.mark.parametrize("entry", named("authorizations"))
def test_an_authorization_has_its_encoding_and_verifies(entry: dict[str, Any]) -> None:
    assert signed_bytes(authorization_of(entry)).hex() == entry["encoding"]
    verify(entry)


@pytest.mark.parametrize("entry", named("authorizations_that_do_not_verify"))
def test_an_altered_authorization_does_not_verify(entry: dict[str, Any]) -> None:
    with pytest.raises(InvalidSignature):
        verify(entry)


def test_the_encoding_is_the_documented_one_byte_by_byte() -> None:
    intent = PaymentIntent("TRANSFER", 1, 2, 3, "EUR", "app", "k1", -1)
    assert payment_bytes(intent) == (
        b"\x00\x12paycore.payment.v1"
        b"\x00\x08TRANSFER"
        b"\x00\x00\x00\x00\x00\x00\x00\x01"
        b"\x00\x00\x00\x00\x00\x00\x00\x02"
        b"\x00\x00\x00\x00\x00\x00\x00\x03"
        b"\x00\x03EUR"
        b"\x00\x03app"
        b"\x00\x02k1"
        b"\xff\xff\xff\xff\xff\xff\xff\xff"
    )


def test_the_encoding_of_a_group_is_the_documented_one_byte_by_byte() -> None:
    legs = (GroupLeg("TRANSFER", 1, 2, 3, "EUR"), GroupLeg("HOLD", 9, 1, 4, "USD"))
    whole = (
        b"\x00\x15paycore.group_legs.v1"
        b"\x00\x00\x00\x00\x00\x00\x00\x02"
        b"\x00\x08TRANSFER"
        b"\x00\x00\x00\x00\x00\x00\x00\x01"
        b"\x00\x00\x00\x00\x00\x00\x00\x02"
        b"\x00\x00\x00\x00\x00\x00\x00\x03"
        b"\x00\x03EUR"
        b"\x00\x04HOLD"
        b"\x00\x00\x00\x00\x00\x00\x00\x09"
        b"\x00\x00\x00\x00\x00\x00\x00\x01"
        b"\x00\x00\x00\x00\x00\x00\x00\x04"
        b"\x00\x03USD"
    )
    assert group_bytes(GroupIntent("app", "k1", 1, legs, -1)) == (
        b"\x00\x10paycore.group.v1"
        b"\x00\x03app"
        b"\x00\x02k1"
        b"\x00\x00\x00\x00\x00\x00\x00\x01"
        b"\x00\x03EUR"
        b"\x00\x00\x00\x00\x00\x00\x00\x03"
        b"\x00\x00\x00\x00\x00\x00\x00\x01"
        b"\x00\x08TRANSFER"
        b"\x00\x00\x00\x00\x00\x00\x00\x02"
        b"\x00\x00\x00\x00\x00\x00\x00\x03"
        b"\x00\x20" + hashlib.sha256(whole).digest() + b"\xff\xff\xff\xff\xff\xff\xff\xff"
    )


def test_an_authorization_needs_a_whole_digest() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        authorization_bytes(
            authorization_id=1,
            user_id="u",
            method=AuthorizationMethod.PIN,
            digest=b"short",
            issued_at_us=1,
            expires_at_us=2,
            key_id="k",
        )


INT64 = st.integers(min_value=-(2**63), max_value=2**63 - 1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=6)
INTENTS = st.builds(PaymentIntent, TEXT, INT64, INT64, INT64, TEXT, TEXT, TEXT, INT64)


@given(INTENTS, INTENTS)
def test_two_payments_never_share_an_encoding(one: PaymentIntent, other: PaymentIntent) -> None:
    assume(one != other)
    assert payment_bytes(one) != payment_bytes(other)


@given(INTENTS, INTENTS)
def test_each_field_of_a_payment_alone_makes_another_digest(
    one: PaymentIntent, other: PaymentIntent
) -> None:
    for field, value in other._asdict().items():
        changed = one._replace(**{field: value})
        assert (payment_digest(changed) == payment_digest(one)) == (changed == one), field


@given(TEXT, TEXT, TEXT, TEXT)
def test_text_cannot_move_between_fields(first: str, second: str, third: str, fourth: str) -> None:
    base = PaymentIntent("TRANSFER", 1, 2, 3, first, second, third + fourth, 4)
    moved = base._replace(client=second + third, idempotency_key=fourth)
    assert (payment_bytes(base) == payment_bytes(moved)) == (base == moved)


CURRENCIES = st.sampled_from(["EUR", "USD"])
LEGS = st.builds(
    GroupLeg, TEXT, st.integers(1, 3), st.integers(1, 3), st.integers(1, 5), CURRENCIES
)


@given(st.lists(LEGS, min_size=1, max_size=4), st.lists(LEGS, min_size=1, max_size=4))
def test_two_groups_never_share_an_encoding(one: list[GroupLeg], other: list[GroupLeg]) -> None:
    assume(one != other)
    encodings = set()
    for legs in (one, other):
        payer = legs[0].debit_account
        own = tuple(
            leg._replace(currency="EUR") if leg.debit_account == payer else leg for leg in legs
        )
        encodings.add((own, group_bytes(GroupIntent("app", "k", payer, own, 1))))
    assert len({encoding for _, encoding in encodings}) == len(encodings)


@given(INTENTS)
def test_a_payment_and_an_enrolment_never_share_a_binding(intent: PaymentIntent) -> None:
    assert payment_digest(intent) != enrolment_binding(intent.client)


def test_the_sign_time_may_be_two_minutes_off_either_way() -> None:
    assert SIGN_TIME_WINDOW_US == 120_000_000
    now_us = 1_767_225_600_000_000
    for fresh in (now_us, now_us - SIGN_TIME_WINDOW_US, now_us + SIGN_TIME_WINDOW_US):
        assert is_fresh(fresh, now_us)
    for stale in (now_us - SIGN_TIME_WINDOW_US - 1, now_us + SIGN_TIME_WINDOW_US + 1):
        assert not is_fresh(stale, now_us)


def test_a_proof_is_bound_to_the_digest_of_what_was_meant() -> None:
    payment = intent_of(VECTORS["payments"][0])
    leg = GroupLeg("TRANSFER", 1, 2, 300, "EUR")
    several = GroupIntent("shop", "key", 1, (leg,), 5)
    assert intent_digest(payment) == payment_digest(payment)
    assert intent_digest(several) == group_digest(several)
