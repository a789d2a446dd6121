"""The keys that a client makes."""

from __future__ import annotations

import uuid

from paycore.client.core import Core, Surroundings
from paycore.client.keys import new_key
from paycore.client.retries import Timeouts
from tests.integration.client.samples import ORDER
from tests.support.clocks import ManualClock

NOW_US = 1_763_760_000_500_000


def test_a_key_is_a_version_7_uuid_of_its_time() -> None:
    made = uuid.UUID(new_key(NOW_US))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == NOW_US // 1_000


def test_the_example_of_the_standard_is_met() -> None:
    # RFC 9562, appendix A.6: rand_a is CC3, rand_b 18C4DC0C0C07398F.
    made = new_key(0x017F22E279B0 * 1_000, lambda bits: 0xCC3 << 62 | 0x18C4DC0C0C07398F)
    assert made == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


def test_a_client_makes_keys_by_its_clock() -> None:
    core = Core("app", Timeouts(), Surroundings(clock=ManualClock(NOW_US / 1e6)))
    made = [core.key(None), core.keyed(ORDER)[1]]
    assert [uuid.UUID(key).int >> 80 for key in made] == [NOW_US // 1_000] * 2
    assert core.key("given") == "given"


def test_later_keys_sort_after_earlier_ones() -> None:
    made = [new_key(NOW_US + 1_000 * step) for step in range(2_000)]
    assert made == sorted(made)


def test_keys_of_one_moment_differ() -> None:
    assert len({new_key(NOW_US) for _ in range(10_000)}) == 10_000


def test_all_random_bits_are_used() -> None:
    made = [uuid.UUID(new_key(NOW_US)).int for _ in range(200)]
    ever, always = 0, -1
    for one in made:
        ever, always = ever | one, always & one
    assert (ever & ~always).bit_count() == 74
