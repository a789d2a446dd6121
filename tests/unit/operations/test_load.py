"""Load: percentiles, outcomes, random orders that a seed repeats."""

import random
from datetime import UTC, datetime
from itertools import islice

import grpc
import pytest

from operations.load.measure import Measurement, outcome_name
from operations.load.orders import random_orders
from operations.load.population import Population
from paycore.client import Account, AccountKind, AccountStatus
from paycore.client.errors import HandshakeError, InsufficientFundsError, TimedOutError


@pytest.mark.parametrize(
    ("percent", "expected"), [(50, 5.0), (90, 9.0), (99, 10.0), (100, 10.0), (1, 1.0)]
)
def test_percentiles_are_by_nearest_rank(percent: float, expected: float) -> None:
    measured = Measurement(latencies_s=[float(number) for number in range(10, 0, -1)])
    assert measured.percentile_s(percent) == expected


def test_without_requests_there_is_no_latency() -> None:
    assert Measurement().percentile_s(99) == 0.0


def test_outcomes_are_named_by_reason_or_code() -> None:
    assert outcome_name(InsufficientFundsError("x")) == "INSUFFICIENT_FUNDS"
    timed_out = TimedOutError(grpc.StatusCode.DEADLINE_EXCEEDED, "")
    assert outcome_name(timed_out) == "grpc DEADLINE_EXCEEDED"
    assert outcome_name(HandshakeError("x")) == "HandshakeError"


def account(number: int, currency: str) -> Account:
    return Account(
        id=number,
        owner="ada",
        institution="Nordbank",
        currency=currency,
        kind=AccountKind.CUSTOMER,
        status=AccountStatus.ACTIVE,
        balance=0,
        held=0,
        overdraft_limit=0,
        available=0,
        version=0,
        revision=0,
        opened_by="app",
        metadata={},
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


POPULATION = Population(
    {"EUR": [account(1, "EUR"), account(2, "EUR")], "JPY": [account(3, "JPY")]}, {}
)


def test_random_orders_are_between_two_accounts_of_one_currency() -> None:
    orders = list(islice(random_orders(POPULATION, {"EUR": 9}, random.Random(1), "run"), 200))
    assert {order.debit_account for order in orders} == {1, 2}
    assert all(order.debit_account != order.credit_account for order in orders)
    assert {order.amount.minor_units for order in orders} == set(range(1, 10))
    assert len({order.idempotency_key for order in orders}) == 200


def test_a_seed_repeats_the_orders() -> None:
    first, second = (
        list(islice(random_orders(POPULATION, {"EUR": 9}, random.Random(7), "run"), 20))
        for _ in range(2)
    )
    assert first == second
