"""Whom a certificate names."""

from __future__ import annotations

import pytest

from paycore.runtime.tls import identity_of


@pytest.mark.parametrize(
    ("alternative_names", "identity"),
    [
        ([b"spiffe://paycore/app"], "app"),
        ([b"localhost", b"spiffe://paycore/app"], "app"),
        ([b"spiffe://paycore/app", b"spiffe://paycore/operator"], "app"),
        ([], None),
        ([b"localhost", b"spiffe://elsewhere/app"], None),
        ([b"spiffe://paycore/"], None),
        (["spiffe://paycore/äpp".encode()], None),
        ([b"spiffe://paycore/\xff"], None),
        ([b"spiffe://paycore/\xff", b"spiffe://paycore/operator"], None),
    ],
)
def test_the_first_name_of_ours_is_the_identity_if_it_is_ascii(
    alternative_names: list[bytes], identity: str | None
) -> None:
    assert identity_of(alternative_names) == identity
