"""A sealed row opens with its own keys, in its own place, unaltered; and in no other way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paycore.domain.sealed import SealedDetails, SubjectKey
from paycore.domain.transfers import Details
from paycore.runtime.sealing import SealBrokenError, seal, unseal

ONE = SubjectKey(11, bytes(range(32)))
OTHER = SubjectKey(12, bytes(range(32, 64)))
STRANGE = SubjectKey(11, bytes(32))
DETAILS = Details("u-1", "phone", "192.0.2.7", "rent", {"flat": "4b"}, keys=(ONE,))

texts = st.text(max_size=40)


@given(
    st.tuples(texts, texts, texts, texts), st.dictionaries(texts, texts, max_size=5), st.booleans()
)
def test_what_was_sealed_opens(
    fields: tuple[str, str, str, str], metadata: dict[str, str], shared: bool
) -> None:
    keys = (ONE, OTHER) if shared else (ONE,)
    details = Details(*fields, metadata or None, keys=keys)
    assert unseal(seal(7, details), keys) == details


def test_nothing_of_it_can_be_read_and_no_two_are_alike() -> None:
    first, second = seal(7, DETAILS), seal(7, DETAILS)
    assert first.sealed != second.sealed
    assert not any(part in first.sealed for part in (b"u-1", b"phone", b"192.0.2.7", b"rent"))


@pytest.mark.parametrize("keys", [(ONE,), (ONE, OTHER)], ids=["one key", "two keys"])
def test_it_opens_in_no_other_place(keys: tuple[SubjectKey, ...]) -> None:
    sealed = seal(7, replace(DETAILS, keys=keys))
    with pytest.raises(SealBrokenError):
        unseal(sealed._replace(row_id=8), keys)


def test_it_opens_with_no_other_keys() -> None:
    alone = seal(7, DETAILS)
    with pytest.raises(SealBrokenError):
        unseal(alone, (STRANGE,))
    with pytest.raises(SealBrokenError):
        unseal(alone, (OTHER,))
    # Nor as though it stood under a key that somebody else may have.
    with pytest.raises(SealBrokenError):
        unseal(alone._replace(key_ids=(12,)), (OTHER,))
    shared = seal(7, replace(DETAILS, keys=(ONE, OTHER)))
    for keys in ((ONE,), (OTHER,), (OTHER, ONE), (STRANGE, OTHER), ()):
        with pytest.raises(SealBrokenError):
            unseal(shared, keys)


@pytest.mark.parametrize("keys", [(ONE,), (ONE, OTHER)], ids=["one key", "two keys"])
def test_neither_altered_nor_cut_does_it_open(keys: tuple[SubjectKey, ...]) -> None:
    whole = seal(7, replace(DETAILS, keys=keys))
    broken = [whole.sealed[:length] for length in range(len(whole.sealed))]
    for place in range(len(whole.sealed)):
        altered = bytearray(whole.sealed)
        altered[place] ^= 1
        broken.append(bytes(altered))
    for sealed in (*broken, whole.sealed + b"\0"):
        with pytest.raises(SealBrokenError):
            unseal(whole._replace(sealed=sealed), keys)


@pytest.mark.parametrize("keys", [(), (ONE, OTHER, STRANGE)])
def test_nothing_is_sealed_but_under_one_key_or_two(keys: tuple[SubjectKey, ...]) -> None:
    with pytest.raises(ValueError, match="one key or two"):
        seal(7, replace(DETAILS, keys=keys))


def test_neither_details_nor_keys_are_ever_printed() -> None:
    shown = f"{DETAILS} {DETAILS!r} {ONE} {ONE!r} {[DETAILS]} {(ONE,)} {DETAILS.keys}"
    assert not any(part in shown for part in ("u-1", "rent", "phone", str(ONE.secret)))


def test_a_row_keeps_the_ids_of_its_keys_in_order() -> None:
    assert seal(7, replace(DETAILS, keys=(ONE, OTHER))).key_ids == (11, 12)
    assert isinstance(seal(7, DETAILS), SealedDetails)
