"""Identifiers in requests: resolved in one query, remembered, and free where there are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.identifiers import ExternalIdentifier
from paycore.runtime.account_names import ACCOUNT, SIDES
from paycore.runtime.identifiers import Identifiers
from paycore.v1 import account_pb2, account_service_pb2, transfer_service_pb2


class Links:
    """Identifiers that are linked, and what was asked."""

    def __init__(self, **linked: int) -> None:
        self.linked = {named(value): AccountId(account) for value, account in linked.items()}
        self.asked: list[list[ExternalIdentifier]] = []

    async def fetch(
        self, wanted: Sequence[ExternalIdentifier]
    ) -> Mapping[ExternalIdentifier, AccountId]:
        self.asked.append(list(wanted))
        return {one: self.linked[one] for one in wanted if one in self.linked}


def named(value: str) -> ExternalIdentifier:
    return ExternalIdentifier("s", value)


def message(value: str, scheme: str = "s") -> account_pb2.ExternalIdentifier:
    return account_pb2.ExternalIdentifier(scheme=scheme, value=value)


def submit(debit: str, credit: str) -> transfer_service_pb2.SubmitTransferRequest:
    return transfer_service_pb2.SubmitTransferRequest(
        debit_account_identifier=message(debit), credit_account_identifier=message(credit)
    )


async def test_all_identifiers_of_a_request_are_asked_for_at_once_and_once() -> None:
    links = Links(a=1, b=2, c=3)
    requests = [submit("a", "b"), submit("b", "c"), submit("c", "a")]
    assert await Identifiers(links.fetch).name_all_by_id(requests, *SIDES) == {}
    assert links.asked == [[named("a"), named("b"), named("c")]]
    assert [(one.debit_account_id, one.credit_account_id) for one in requests] == [
        (1, 2),
        (2, 3),
        (3, 1),
    ]
    assert not requests[0].HasField("debit_account_identifier")


async def test_a_link_is_remembered_and_an_absence_is_not() -> None:
    links = Links(a=1)
    identifiers = Identifiers(links.fetch)
    assert await identifiers.find([named("a"), named("late")]) == {named("a"): 1}
    links.linked[named("late")] = AccountId(9)
    assert await identifiers.find([named("a"), named("late")]) == {named("a"): 1, named("late"): 9}
    assert await identifiers.find([named("late")]) == {named("late"): 9}
    assert links.asked == [[named("a"), named("late")], [named("late")]]


async def test_the_memory_is_bounded_and_drops_what_was_asked_for_longest_ago() -> None:
    links = Links(a=1, b=2, c=3)
    identifiers = Identifiers(links.fetch, capacity=2)
    await identifiers.find([named("a")])
    await identifiers.find([named("b")])
    await identifiers.find([named("a")])
    await identifiers.find([named("c")])
    links.asked.clear()
    await identifiers.find([named("a"), named("c")])
    assert links.asked == []
    await identifiers.find([named("b")])
    assert links.asked == [[named("b")]]


async def test_requests_without_identifiers_ask_nothing() -> None:
    links = Links()
    request = transfer_service_pb2.SubmitTransferRequest(debit_account_id=1, credit_account_id=-2)
    await Identifiers(links.fetch).name_by_id(request, *SIDES)
    await Identifiers(links.fetch).name_by_id(account_service_pb2.GetAccountRequest(), ACCOUNT)
    assert links.asked == []
    assert (request.debit_account_id, request.credit_account_id) == (1, -2)


async def test_an_unknown_one_refuses_its_own_request_alone() -> None:
    requests = [submit("a", "b"), submit("a", "nobody"), submit("nobody", "none")]
    refused = await Identifiers(Links(a=1, b=2).fetch).name_all_by_id(requests, *SIDES)
    assert {place: (error.reason, error.metadata["id"]) for place, error in refused.items()} == {
        1: (Reason.ACCOUNT_NOT_FOUND, "s:nobody"),
        2: (Reason.ACCOUNT_NOT_FOUND, "s:nobody"),
    }
    assert (requests[0].debit_account_id, requests[0].credit_account_id) == (1, 2)


async def test_alone_it_is_raised() -> None:
    request = account_service_pb2.GetAccountRequest(account_identifier=message("nobody"))
    with pytest.raises(PaycoreError) as error:
        await Identifiers(Links().fetch).name_by_id(request, ACCOUNT)
    assert error.value.reason is Reason.ACCOUNT_NOT_FOUND


@pytest.mark.parametrize("bad", [message(""), message("a", "S"), message("a\n"), message("a", "")])
async def test_a_malformed_one_is_left_for_the_check_of_the_fields(
    bad: account_pb2.ExternalIdentifier,
) -> None:
    links = Links()
    request = account_service_pb2.GetAccountRequest(account_identifier=bad)
    await Identifiers(links.fetch).name_by_id(request, ACCOUNT)
    assert links.asked == []
    assert request.HasField("account_identifier")
