"""Traces of persons: opened by all of their keys in their own row, hinted at, never printed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest

from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.sealed import SubjectKey
from paycore.runtime.sealing import SealBrokenError
from paycore.runtime.security_events import Kind, person_of
from paycore.runtime.traces import (
    Bound,
    Hinted,
    Person,
    Trace,
    Tracer,
    hint,
    open_trace,
    seal_trace,
)
from paycore.v1 import actor_pb2

SECRET = b"s" * 32
PHONE = Person("clerk", "phone-1", "192.0.2.7")
BOUND = Bound(17, "STEP_UP_REFUSED", "app", "ada")
ONE, OTHER = SubjectKey(1, b"a" * 32), SubjectKey(2, b"b" * 32)


class Given:
    """Keys of some subjects; those of others cannot be had."""

    def __init__(self, **keys: SubjectKey) -> None:
        self._keys = keys
        self.asked: list[Sequence[str]] = []

    async def of_subjects(
        self, subjects: Sequence[str], within_s: float
    ) -> Mapping[str, SubjectKey | PaycoreError]:
        self.asked.append(list(subjects))
        away = PaycoreError(Reason.SIGNER_UNAVAILABLE, "away")
        return {subject: self._keys.get(subject, away) for subject in subjects}


async def trace(keys: Given, person: Person | None, bound: Bound = BOUND) -> Trace:
    (made,) = await Tracer(SECRET, keys).traces([(person, bound)])
    return made


def test_a_trace_opens_with_its_keys_in_its_row() -> None:
    sealed = seal_trace(PHONE, (ONE, OTHER), BOUND)
    assert open_trace(sealed, (ONE, OTHER), BOUND) == PHONE


@pytest.mark.parametrize(
    ("keys", "bound"),
    [
        ((ONE,), BOUND),
        ((OTHER, ONE), BOUND),
        ((ONE, SubjectKey(2, b"c" * 32)), BOUND),
        ((ONE, OTHER._replace(id=3)), BOUND),
        ((ONE, OTHER), BOUND._replace(first_us=18)),
        ((ONE, OTHER), BOUND._replace(event="CALL_DENIED")),
        ((ONE, OTHER), BOUND._replace(client=None)),
        ((ONE, OTHER), BOUND._replace(user_id="bob")),
    ],
)
def test_it_opens_in_no_other_row_and_with_no_other_keys(
    keys: tuple[SubjectKey, ...], bound: Bound
) -> None:
    with pytest.raises(SealBrokenError):
        open_trace(seal_trace(PHONE, (ONE, OTHER), BOUND), keys, bound)


async def test_both_whom_it_is_about_and_who_acted_have_to_be_there() -> None:
    made = await trace(Given(ada=ONE, clerk=OTHER), PHONE)
    assert (made.owner_key, made.actor_key) == (1, 2)
    assert made.sealed is not None
    assert open_trace(made.sealed, (ONE, OTHER), BOUND) == PHONE


@pytest.mark.parametrize("had", [{}, {"ada": ONE}, {"clerk": OTHER}])
async def test_without_one_of_the_keys_there_are_hints(had: dict[str, SubjectKey]) -> None:
    made = await trace(Given(**had), PHONE)
    assert made == Trace(
        hint(SECRET, Hinted.DEVICE, "phone-1"), hint(SECRET, Hinted.ADDRESS, "192.0.2.7")
    )


@pytest.mark.parametrize("user", ["a\0b", "x" * 129])
async def test_who_can_be_no_subject_is_asked_no_key_for(user: str) -> None:
    keys = Given(ada=ONE)
    made = await trace(keys, PHONE._replace(user_id=user))
    assert (made.sealed, made.device_hint is None) == (None, False)
    assert keys.asked == []


async def test_where_nobody_was_nothing_is_kept() -> None:
    keys = Given(ada=ONE)
    for person in (None, Person(), Person("clerk")):
        assert await trace(keys, person) == Trace()
    assert keys.asked == []


async def test_a_trace_without_anybody_named_is_hinted_at() -> None:
    made = await trace(Given(), PHONE._replace(user_id=None), BOUND._replace(user_id=None))
    assert (made.sealed, made.device_hint) == (None, hint(SECRET, Hinted.DEVICE, "phone-1"))


def test_a_hint_tells_the_same_from_the_other_and_names_none() -> None:
    one = hint(SECRET, Hinted.ADDRESS, "2001:DB8:0::1")
    assert one == hint(SECRET, Hinted.ADDRESS, "2001:db8::1")
    assert one != hint(SECRET, Hinted.DEVICE, "2001:db8::1")
    assert one != hint(b"t" * 32, Hinted.ADDRESS, "2001:db8::1")
    assert hint(SECRET, Hinted.DEVICE, "") is None
    # Whoever tries a network of 65,536 addresses finds several for most hints.
    hints = Counter(hint(SECRET, Hinted.ADDRESS, f"10.1.{n >> 8}.{n & 255}") for n in range(65_536))
    assert 35_000 < len(hints) < 48_000


def test_what_a_flood_names_is_cut_and_never_printed() -> None:
    person = person_of(actor_pb2.Actor(user_id="u" * 9_999, device_id="d" * 9_999))
    assert (len(person.user_id or ""), len(person.device_id or "")) == (129, 128)
    kind = Kind("LIMIT_TRIPPED", "app", None, "RATE_LIMITED", "ada", "phone-1", "192.0.2.7")
    assert not any(part in repr((PHONE, kind)) for part in ("phone-1", "192.0.2.7", "clerk"))
