"""The key in use is the last one whose time has come."""

from __future__ import annotations

import pytest

from signing_service.keystore.port import KeyPurpose, KeystoreError
from signing_service.keystore.schedule import Schedule

REST = [
    ("seal", KeyPurpose.SEALING, 1),
    ("pepper", KeyPurpose.PEPPER, 1),
    ("wrap", KeyPurpose.WRAPPING, 1),
]
SIGN = KeyPurpose.AUTHORIZATION


def test_a_key_comes_into_use_at_its_time() -> None:
    schedule = Schedule([("second", SIGN, 200), ("first", SIGN, 100), *REST])
    moments = (0, 100, 199, 200, 10**18)
    assert [schedule.current(SIGN, now_us) for now_us in moments] == [
        "first",
        "first",
        "first",
        "second",
        "second",
    ]


def test_of_two_keys_with_one_time_the_later_is_in_use() -> None:
    assert Schedule([("a", SIGN, 5), ("b", SIGN, 5), *REST]).current(SIGN, 5) == "b"


def test_the_inventory_says_which_are_in_use() -> None:
    entries = Schedule([("old", SIGN, 1), ("next", SIGN, 9), *REST]).inventory(5)
    assert [(entry.key_id, entry.current) for entry in entries] == [
        ("old", True),
        ("seal", True),
        ("pepper", True),
        ("wrap", True),
        ("next", False),
    ]


@pytest.mark.parametrize("absent", range(4))
def test_each_purpose_needs_a_key(absent: int) -> None:
    keys = [("sign", SIGN, 1), *REST]
    del keys[absent]
    with pytest.raises(KeystoreError, match="no key of purpose"):
        Schedule(keys)
