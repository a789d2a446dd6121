"""Whom a certificate names."""

from __future__ import annotations

import pytest

from paycore.runtime.tls import MAX_IDENTITY, identity_of, server_name


@pytest.mark.parametrize("name", ["app", "command", "team-1.app_2", "A", "x" * MAX_IDENTITY])
def test_one_name_of_our_trust_domain_is_an_identity(name: str) -> None:
    assert identity_of([f"spiffe://paycore/{name}"]) == name


@pytest.mark.parametrize(
    ("uris", "why"),
    [
        ([], "no URI names"),
        (["spiffe://paycore/app", "spiffe://paycore/operator"], "2 URI names"),
        (["spiffe://paycore/app", "spiffe://paycore/app"], "2 URI names"),
        (["https://paycore/app", "spiffe://paycore/app"], "2 URI names"),
        (["spiffe://elsewhere/app"], "trust domain"),
        (["spiffe://paycore.elsewhere/app"], "trust domain"),
        (["spiffe://paycore"], "trust domain"),
        (["SPIFFE://paycore/app"], "trust domain"),
        (["https://paycore/app"], "trust domain"),
        (["spiffe://paycore/"], "NAME"),
        (["spiffe://paycore/app/2"], "NAME"),
        (["spiffe://paycore/app\n"], "NAME"),
        (["spiffe://paycore/app?x=1"], "NAME"),
        (["spiffe://paycore/%61pp"], "NAME"),
        (["spiffe://paycore/äpp"], "NAME"),
        (["spiffe://paycore/."], "NAME"),
        (["spiffe://paycore/.."], "NAME"),
        (["spiffe://paycore/" + "x" * (MAX_IDENTITY + 1)], "NAME"),
    ],
)
def test_anything_else_is_none_and_says_why(uris: list[str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        identity_of(uris)


def test_a_service_has_a_server_name_of_its_own() -> None:
    assert (server_name("command"), server_name("signing")) == (
        "command.paycore",
        "signing.paycore",
    )
