"""Which limits a call draws on, and under which names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.limits import Limit, Place, RateLimit, Setting, Source
from paycore.runtime.gate import Method
from paycore.runtime.limits.calls import CallLimits
from paycore.runtime.limits.local import LocalLimiter
from paycore.runtime.limits.rate import Charge, Excess
from paycore.runtime.limits.table import LimitTable, Said, everywhere
from paycore.v1 import actor_pb2
from paycore.v1 import transfer_service_pb2 as pb2
from tests.support.clocks import ManualClock

SERVICE = "paycore.v1.TransferService"
SUBMIT = Method(SERVICE, "SubmitTransfer", pb2.SubmitTransferRequest, lambda _: 1)
GROUP = Method(
    SERVICE, "SubmitTransferGroup", pb2.SubmitTransferGroupRequest, lambda one: len(one.transfers)
)
BULK = Method(
    SERVICE, "SubmitTransfers", pb2.SubmitTransfersRequest, lambda one: len(one.transfers)
)


class Here:
    """Decides in this process, and remembers what it was asked."""

    def __init__(self) -> None:
        self._local = LocalLimiter(ManualClock())
        self.asked: list[Sequence[Charge]] = []

    async def decide(self, charges: Sequence[Charge]) -> Excess | None:
        self.asked.append(charges)
        return self._local.decide(charges)

    async def decide_each(self, calls: Sequence[Sequence[Charge]]) -> list[Excess | None]:
        return [await self.decide(charges) for charges in calls]


def limits(here: Here, table: LimitTable | None = None, **changes: Any) -> CallLimits:
    values: dict[str, Any] = {"secret": bytes(32), "speaks": lambda client: client != "mute"}
    values |= changes
    held = table or LimitTable()
    return CallLimits(lambda: held, here, values["secret"], values["speaks"])


def limited(settings: dict[Limit, Setting]) -> LimitTable:
    return LimitTable().with_file(everywhere(settings))


def actor(user: str = "u", device: str = "d", address: str = "192.0.2.7") -> actor_pb2.Actor:
    return actor_pb2.Actor(user_id=user, device_id=device, ip_address=address)


def submit(**changes: str) -> pb2.SubmitTransferRequest:
    return pb2.SubmitTransferRequest(actor=actor(**changes))


async def charged(
    request: Any, client: str = "app", method: Method = SUBMIT
) -> dict[Limit, Charge]:
    here = Here()
    await limits(here).admit(client, method, request)
    (charges,) = here.asked
    return {charge.limit: charge for charge in charges}


async def test_a_call_with_an_actor_draws_on_four_limits_at_once() -> None:
    assert list(await charged(submit())) == [Limit.CLIENT, Limit.ADDRESS, Limit.USER, Limit.DEVICE]


async def test_a_call_without_draws_on_its_client_s_alone() -> None:
    assert list(await charged(pb2.SubmitTransferRequest())) == [Limit.CLIENT]


async def test_what_an_actor_leaves_out_is_not_counted() -> None:
    assert list(await charged(submit(user="", address=""))) == [Limit.CLIENT, Limit.DEVICE]
    assert list(await charged(submit(address="no address"))) == [
        Limit.CLIENT,
        Limit.USER,
        Limit.DEVICE,
    ]


async def test_who_may_not_speak_for_users_uses_up_nobody_s_limit() -> None:
    assert list(await charged(submit(), client="mute")) == [Limit.CLIENT]


async def test_a_group_counts_by_its_items() -> None:
    request = pb2.SubmitTransferGroupRequest(
        actor=actor(), transfers=[pb2.GroupedTransfer() for _ in range(7)]
    )
    found = await charged(request, method=GROUP)
    assert {charge.cost for charge in found.values()} == {7}
    assert len(found) == 4


async def test_names_are_the_same_for_the_same_and_tell_nothing() -> None:
    one, same = await charged(submit()), await charged(submit())
    assert one == same
    text = str([charge.key for charge in (await charged(submit(user="alice"))).values()])
    assert "alice" not in text
    assert "192.0.2.7" not in text
    here = Here()
    await limits(here, secret=b"\1" * 32).admit("app", SUBMIT, submit())
    assert not {charge.key for charge in here.asked[0]} & {charge.key for charge in one.values()}


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("192.0.2.7", "::ffff:192.0.2.7"),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"),
        ("2001:DB8:1:2::1", "2001:db8:1:2::1"),
    ],
)
async def test_addresses_that_one_party_has_count_together(one: str, two: str) -> None:
    first, second = await charged(submit(address=one)), await charged(submit(address=two))
    assert first[Limit.ADDRESS].key == second[Limit.ADDRESS].key


@pytest.mark.parametrize(
    ("one", "two"), [("192.0.2.7", "192.0.2.8"), ("2001:db8:1:2::1", "2001:db8:1:3::1")]
)
async def test_addresses_of_others_do_not(one: str, two: str) -> None:
    first, second = await charged(submit(address=one)), await charged(submit(address=two))
    assert first[Limit.ADDRESS].key != second[Limit.ADDRESS].key


async def test_each_client_s_users_are_its_own_and_a_user_is_no_device() -> None:
    app, other = await charged(submit(user="x", device="x")), await charged(submit(), client="b")
    keys = [charge.key for charge in (*app.values(), *other.values())]
    assert len(set(keys)) == len(keys)


async def test_the_refusal_says_which_limit_and_when() -> None:
    table = limited({Limit.DEVICE: RateLimit(2, 4)})
    one = limits(Here(), table)
    await one.admit("app", SUBMIT, submit(user="a"))
    await one.admit("app", SUBMIT, submit(user="b"))
    with pytest.raises(PaycoreError) as refusal:
        await one.admit("app", SUBMIT, submit(user="c"))
    assert refusal.value.reason is Reason.RATE_LIMITED
    assert refusal.value.metadata == {"limit": "device", "per_s": "2"}
    assert refusal.value.retry_after_ms == 1_000
    await one.admit("app", SUBMIT, submit(device="other"))


async def test_more_than_a_burst_is_told_that_no_waiting_helps() -> None:
    table = limited({Limit.USER: RateLimit(2, 4)})
    request = pb2.SubmitTransferGroupRequest(
        actor=actor(), transfers=[pb2.GroupedTransfer() for _ in range(5)]
    )
    with pytest.raises(PaycoreError) as refusal:
        await limits(Here(), table).admit("app", GROUP, request)
    assert refusal.value.metadata == {"limit": "user", "per_s": "2", "burst": "4"}


async def test_items_are_refused_by_their_own_actors() -> None:
    table = limited({Limit.DEVICE: RateLimit(2, 8)})
    here = Here()
    one = limits(here, table)
    request = pb2.SubmitTransfersRequest(
        transfers=[
            *(submit(device="busy") for _ in range(9)),
            submit(device="calm"),
            pb2.SubmitTransferRequest(),
            submit(device="calm"),
        ]
    )
    await one.admit("app", BULK, request)
    assert [charge.limit for charge in here.asked[0]] == [Limit.CLIENT]
    refused = await one.exceeding(BULK.full_name, "app", request.transfers)
    assert set(refused) == set(range(9))
    assert {error.metadata["limit"] for error in refused.values()} == {"device"}
    assert await one.exceeding(BULK.full_name, "mute", request.transfers) == {}


async def test_a_method_with_limits_of_its_own_counts_apart() -> None:
    # Both have the same rate: only what they count differs.
    table = LimitTable.of_client_rate(RateLimit(2, 4)).with_file(
        {Place("app", GROUP.full_name, Limit.CLIENT): RateLimit(2, 4)}
    )
    one = limits(Here(), table)
    for _ in range(2):
        await one.admit("app", SUBMIT, pb2.SubmitTransferRequest())
    with pytest.raises(PaycoreError):
        await one.admit("app", SUBMIT, pb2.SubmitTransferRequest())
    await one.admit("app", GROUP, pb2.SubmitTransferGroupRequest(transfers=[pb2.GroupedTransfer()]))


async def test_a_table_that_changes_holds_from_the_next_call_on() -> None:
    here, held = Here(), limited({Limit.CLIENT: RateLimit(2, 40)})
    one = CallLimits(lambda: held, here, bytes(32), lambda _: True)
    await one.admit("app", SUBMIT, pb2.SubmitTransferRequest())
    place = Place("app", "", Limit.CLIENT)
    held = held.with_changes({place: Said(RateLimit(3, 90), Source.DATABASE, 1)})
    await one.admit("app", SUBMIT, pb2.SubmitTransferRequest())
    held = held.with_changes({place: Said(None, Source.DATABASE, 2)})
    await one.admit("app", SUBMIT, pb2.SubmitTransferRequest())
    held = held.with_changes({})
    await one.admit("app", SUBMIT, pb2.SubmitTransferRequest())
    charges = [charge for (charge,) in here.asked]
    assert [charge.rate for charge in charges] == [
        RateLimit(2, 40),
        RateLimit(3, 90),
        RateLimit(2, 40),
    ]
    # What was used is still used.
    assert len({charge.key for charge in charges}) == 1
