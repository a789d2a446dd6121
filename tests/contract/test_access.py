"""Every method with every identity: who may call what, spelt out once more."""

from __future__ import annotations

import datetime
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor

from deploy.local import LocalStack
from deploy.local.certificates import IDENTITIES, issue
from paycore.runtime.channel import SEPARATE_CONNECTION, open_channel
from paycore.signing.v1 import signing_service_pb2
from paycore.v1 import (
    account_service_pb2,
    analytics_service_pb2,
    history_service_pb2,
    transfer_service_pb2,
)
from tests.support.callers import TIMEOUT_S, Callers, raw, refusal_of

SERVERS = {
    "AccountService": ("command", account_service_pb2.DESCRIPTOR),
    "TransferService": ("command", transfer_service_pb2.DESCRIPTOR),
    "HistoryService": ("query", history_service_pb2.DESCRIPTOR),
    "AnalyticsService": ("query", analytics_service_pb2.DESCRIPTOR),
    "SigningService": ("signing", signing_service_pb2.DESCRIPTOR),
}

CLIENTS = {"app", "loadtest"}
READERS = CLIENTS | {"analyst", "operator"}

ALLOWED = {
    "AccountService/CreateAccount": CLIENTS,
    "AccountService/CreateAccounts": CLIENTS,
    "AccountService/GetAccount": CLIENTS | {"operator"},
    "AccountService/SetAccountStatus": {"operator"},
    "AccountService/SetOverdraftLimit": {"operator"},
    "AccountService/LinkExternalIdentifier": CLIENTS,
    "AccountService/ResolveExternalIdentifier": CLIENTS | {"operator"},
    "TransferService/SubmitTransfer": CLIENTS,
    "TransferService/SubmitTransfers": CLIENTS,
    "TransferService/SubmitTransferGroup": CLIENTS,
    "TransferService/StreamTransfers": CLIENTS,
    "TransferService/HoldFunds": CLIENTS,
    "TransferService/CaptureHold": CLIENTS,
    "TransferService/ReleaseHold": CLIENTS,
    "TransferService/RefundTransfer": CLIENTS,
    "TransferService/ReverseTransfer": CLIENTS | {"operator"},
    "TransferService/ApproveReview": {"operator"},
    "TransferService/RefuseReview": {"operator"},
    "TransferService/LookupTransfer": CLIENTS | {"operator"},
    "HistoryService/GetTransfer": READERS,
    "HistoryService/ListTransfers": READERS,
    "HistoryService/GetBalance": READERS,
    "AnalyticsService/TransferVolume": READERS,
    "AnalyticsService/TopCounterparties": READERS,
    "SigningService/EnrollPin": CLIENTS,
    "SigningService/Authorize": {"command"},
    "SigningService/GetPublicKeys": CLIENTS | {"command", "operator"},
}

METHODS = {
    f"{service}/{method.name}": (server, method)
    for service, (server, file) in SERVERS.items()
    for method in file.services_by_name[service].methods
}


def path_of(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def test_every_method_is_in_the_table() -> None:
    assert set(ALLOWED) == set(METHODS)


@pytest.mark.parametrize("identity", IDENTITIES)
@pytest.mark.parametrize("name", ALLOWED)
async def test_a_method_answers_those_it_is_for(callers: Callers, name: str, identity: str) -> None:
    server, method = METHODS[name]
    call = raw(callers.of(identity).channels[server], path_of(method))
    # An empty request is malformed for most methods: whoever may call is told so.
    refusal = await refusal_of(call(b"", timeout=TIMEOUT_S))
    if identity in ALLOWED[name]:
        assert refusal is None or refusal.reason == "INVALID_FIELD", refusal
    else:
        assert refusal is not None
        assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
        assert refusal.error is not None
        assert refusal.reason == "NOT_PERMITTED"
        assert refusal.error.metadata == {
            "method": path_of(method)[1:],
            "client": identity,
        }


@pytest.mark.parametrize("name", ALLOWED)
async def test_a_name_that_is_in_no_table_may_call_nothing(
    services: LocalStack, tmp_path: Path, name: str
) -> None:
    endpoints = services.endpoints
    for file in ("ca.pem", "ca.key"):
        (tmp_path / file).write_bytes((endpoints.tls["app"].ca.parent / file).read_bytes())
    now = datetime.datetime.now(datetime.UTC)
    hour = datetime.timedelta(hours=1)
    tls = issue(tmp_path, "somebody-else", now - hour, now + hour)
    server, method = METHODS[name]
    async with open_channel(endpoints.target(server), tls, SEPARATE_CONNECTION) as channel:
        refusal = await refusal_of(raw(channel, path_of(method))(b"", timeout=TIMEOUT_S))
    assert refusal is not None
    assert refusal.reason == "NOT_PERMITTED"
