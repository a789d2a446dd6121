"""Right requests that read, set policies and erase, and those of gRPC's own services."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from paycore.v1 import analytics_service_pb2 as analytics
from paycore.v1 import history_service_pb2 as history
from paycore.v1 import personal_data_service_pb2 as personal
from paycore.v1 import policy_service_pb2 as policy
from tests.support.fuzzing.right.world import Right, World, books_of

CURRENCY = "CHF"
"""Nobody pays in it: a policy that is changed changes nothing for the others."""


async def get_transfer(world: World, client: str) -> Any:
    """The oldest that is remembered: the index has it already."""
    return history.GetTransferRequest(transfer_id=books_of(world, client).payments[0])


async def list_transfers(world: World, client: str) -> Any:
    account = world.rng.choice(books_of(world, client).accounts)
    request = history.ListTransfersRequest(account_id=account, page_size=world.rng.randint(1, 50))
    if world.rng.random() < 0.5:
        request.start_time.FromSeconds(int(time.time()) - 3_600)
        request.end_time.FromSeconds(int(time.time()) + 60)
        request.include_declines = True
    return request


async def get_balance(world: World, client: str) -> Any:
    return history.GetBalanceRequest(account_id=world.rng.choice(books_of(world, client).accounts))


async def transfer_volume(world: World, client: str) -> Any:
    request = analytics.TransferVolumeRequest(
        interval=analytics.VOLUME_INTERVAL_HOUR, currency="EUR"
    )
    request.start_time.FromSeconds(int(time.time()) - 86_400)
    request.end_time.FromSeconds(int(time.time()))
    return request


async def top_counterparties(world: World, client: str) -> Any:
    account = world.rng.choice(books_of(world, client).accounts)
    request = analytics.TopCounterpartiesRequest(account_id=account, limit=5)
    request.start_time.FromSeconds(int(time.time()) - 86_400)
    request.end_time.FromSeconds(int(time.time()))
    return request


async def get_policy(world: World, client: str) -> Any:
    return policy.GetStepUpPolicyRequest(currency=world.rng.choice(("EUR", CURRENCY)))


async def list_policies(world: World, client: str) -> Any:
    return policy.ListStepUpPoliciesRequest()


async def set_policy(world: World, client: str) -> Any:
    threshold = world.rng.randrange(1_000)
    return policy.SetStepUpPolicyRequest(
        idempotency_key=world.new("key"),
        policy=policy.StepUpPolicy(currency=CURRENCY, threshold_minor_units=threshold),
        reason="asked for",
    )


async def remove_policy(world: World, client: str) -> Any:
    return policy.RemoveStepUpPolicyRequest(
        idempotency_key=world.new("key"), currency=CURRENCY, reason="asked for"
    )


async def list_grants(world: World, client: str) -> Any:
    return policy.ListGrantsRequest(client=world.rng.choice(("", "app")), page_size=5)


def _grant() -> policy.Grant:
    return policy.Grant(
        client="fuzz-nobody",
        accounts=policy.AccountGrant(action=policy.GRANT_ACTION_READ, scope=policy.GRANT_SCOPE_OWN),
    )


async def give_grant(world: World, client: str) -> Any:
    return policy.GiveGrantRequest(
        idempotency_key=world.new("key"), grant=_grant(), reason="asked for"
    )


async def take_grant(world: World, client: str) -> Any:
    return policy.TakeGrantRequest(
        idempotency_key=world.new("key"), grant=_grant(), reason="asked for"
    )


async def erase(world: World, client: str) -> Any:
    actors = f"fuzz-actor-{world.rng.randrange(1_000)}"
    return personal.EraseSubjectRequest(subject=actors, reason="asked for")


async def health(world: World, client: str) -> Any:
    return health_pb2.HealthCheckRequest()


async def health_list(world: World, client: str) -> Any:
    return health_pb2.HealthListRequest()


async def reflect(world: World, client: str) -> Any:
    symbol = world.rng.choice(("grpc.health.v1.Health", "grpc.health.v1.HealthCheckRequest"))
    match world.rng.randrange(4):
        case 0:
            return reflection_pb2.ServerReflectionRequest(list_services="")
        case 1:
            return reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
        case 2:
            return reflection_pb2.ServerReflectionRequest(file_by_filename="paycore/v1/money.proto")
        case _:
            return reflection_pb2.ServerReflectionRequest(all_extension_numbers_of_type=symbol)


READING: Mapping[str, Right] = {
    "HistoryService/GetTransfer": Right(get_transfer),
    "HistoryService/ListTransfers": Right(list_transfers),
    "HistoryService/GetBalance": Right(get_balance),
    "AnalyticsService/TransferVolume": Right(transfer_volume),
    "AnalyticsService/TopCounterparties": Right(top_counterparties),
    "PolicyService/GetStepUpPolicy": Right(get_policy),
    "PolicyService/ListStepUpPolicies": Right(list_policies),
    "PolicyService/SetStepUpPolicy": Right(set_policy),
    "PolicyService/RemoveStepUpPolicy": Right(remove_policy),
    "PolicyService/ListGrants": Right(list_grants),
    "PolicyService/GiveGrant": Right(give_grant),
    "PolicyService/TakeGrant": Right(take_grant),
    "PersonalDataService/EraseSubject": Right(erase),
    "Health/Check": Right(health),
    "Health/Watch": Right(health),
    "Health/List": Right(health_list),
    "ServerReflection/ServerReflectionInfo": Right(reflect),
}
