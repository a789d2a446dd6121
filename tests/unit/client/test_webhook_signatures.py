"""Signatures of deliveries, which are Stripe's scheme, and how receivers verify them."""

from __future__ import annotations

import pytest

from paycore.client.webhook_signatures import (
    BadBodyError,
    MalformedSignatureError,
    SignatureMismatchError,
    SignatureTooOldError,
    verify,
)
from paycore.domain.webhook_signature import WebhookSecret, signature, signature_header

SECRET = WebhookSecret("whsec_test")
OTHER = WebhookSecret("whsec_other")
AT_S = 1_700_000_000
BODY = b'{"id":"1-0"}'


def test_vectors() -> None:
    # printf '1700000000.{"id":"1-0"}' | openssl dgst -sha256 -hmac whsec_test
    assert signature(SECRET, "1700000000", BODY) == VECTOR
    assert signature_header([SECRET], AT_S, BODY) == f"t=1700000000,v1={VECTOR}"


VECTOR = "d5433c87444c4ded147110fca241afc9ee9e948362b221556221fad2881f3d75"


def test_what_was_signed_is_verified_with_any_secret_that_signed() -> None:
    header = signature_header([OTHER, SECRET], AT_S, BODY)
    for secret in (SECRET, OTHER, SECRET.text):
        assert verify(secret, header, BODY, now=AT_S + 299.0) == {"id": "1-0"}


@pytest.mark.parametrize("body", [b"", BODY + b" ", BODY[:-1], b'{"id":"1-1"}'])
def test_an_altered_body_is_refused(body: bytes) -> None:
    with pytest.raises(SignatureMismatchError):
        verify(SECRET, signature_header([SECRET], AT_S, BODY), body, now=AT_S)


def test_another_secret_and_another_time_are_refused() -> None:
    header = signature_header([OTHER], AT_S, BODY)
    with pytest.raises(SignatureMismatchError):
        verify(SECRET, header, BODY, now=AT_S)
    moved = signature_header([SECRET], AT_S, BODY).replace("t=1700000000", "t=1700000001")
    with pytest.raises(SignatureMismatchError):
        verify(SECRET, moved, BODY, now=AT_S)


@pytest.mark.parametrize("now", [AT_S + 301, AT_S - 301, float("nan"), float("inf")])
def test_what_was_signed_long_ago_or_in_the_future_is_refused(now: float) -> None:
    with pytest.raises(SignatureTooOldError):
        verify(SECRET, signature_header([SECRET], AT_S, BODY), BODY, now=now)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "t=1700000000",
        f"v1={'0' * 64}",
        f"t=x,v1={'0' * 64}",
        f"t=1700000000,t=1700000001,v1={'0' * 64}",
        "t=1700000000,v0=00",
        "t=1700000000," + "v1=0," * 2_000,
    ],
)
def test_a_header_that_cannot_be_read_is_refused(header: str | None) -> None:
    with pytest.raises(MalformedSignatureError):
        verify(SECRET, header, BODY, now=AT_S)


def test_signatures_of_odd_characters_and_later_schemes_do_no_harm() -> None:
    header = signature_header([SECRET], AT_S, BODY)
    assert verify(SECRET, f"{header},v1=\u00e9,v2=abc", BODY, now=AT_S)


@pytest.mark.parametrize("body", [b"", b"[]", b"nothing", b"\xff"])
def test_what_is_signed_and_no_event_is_told_apart(body: bytes) -> None:
    with pytest.raises(BadBodyError):
        verify(SECRET, signature_header([SECRET], AT_S, body), body, now=AT_S)


def test_a_secret_is_never_printed() -> None:
    assert f"{SECRET} {SECRET!r}" == "WebhookSecret(***) WebhookSecret(***)"
