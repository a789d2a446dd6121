"""Accounts and metadata as they are written on the command line."""

from __future__ import annotations

import pytest

from operations.cli.names import account_name, identifier, metadata
from operations.errors import UsageError
from paycore.client import ExternalIdentifier


def test_digits_are_an_id_and_anything_with_a_scheme_a_name() -> None:
    assert account_name("7041") == 7041
    assert account_name("stripe:cus_42") == ExternalIdentifier("stripe", "cus_42")
    assert identifier("iban:DE02:1") == ExternalIdentifier("iban", "DE02:1")


@pytest.mark.parametrize("text", ["", "stripe", ":x", "stripe:", "-1", "٣"])
def test_anything_else_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError):
        account_name(text)


def test_metadata_is_told_by_name_and_value() -> None:
    assert metadata(None) == {}
    assert metadata(["plan=gold", "note=a=b", "empty="]) == {
        "plan": "gold",
        "note": "a=b",
        "empty": "",
    }
    for bad in ("plan", "=gold"):
        with pytest.raises(UsageError):
            metadata([bad])
