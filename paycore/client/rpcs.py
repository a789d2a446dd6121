"""The calls that there are, and which service answers each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from paycore.signing.v1 import signing_service_pb2
from paycore.v1 import (
    account_service_pb2,
    analytics_service_pb2,
    history_service_pb2,
    personal_data_service_pb2,
    policy_service_pb2,
    transfer_service_pb2,
    webhook_service_pb2,
)


class Service(StrEnum):
    """A process that answers calls, each at an address of its own."""

    COMMAND = "COMMAND"
    QUERY = "QUERY"
    SIGNING = "SIGNING"

    @property
    def process(self) -> str:
        """The name that its certificate has."""
        return self.value.lower()


@dataclass(frozen=True, slots=True)
class Rpc:
    """One call as the transport needs it."""

    service: Service
    path: str
    request: Any
    reply: Any
    streamed: bool
    """Whether requests and replies are streams."""
    watched: bool
    """Whether replies to one request are a stream."""


def _rpc(service: Service, file: FileDescriptor, name: str) -> Rpc:
    [declared] = file.services_by_name.values()
    method: MethodDescriptor = declared.methods_by_name[name]
    return Rpc(
        service,
        f"/{declared.full_name}/{name}",
        GetMessageClass(method.input_type),
        GetMessageClass(method.output_type),
        streamed=method.client_streaming and method.server_streaming,
        watched=method.server_streaming and not method.client_streaming,
    )


_ACCOUNTS = account_service_pb2.DESCRIPTOR
CREATE_ACCOUNT = _rpc(Service.COMMAND, _ACCOUNTS, "CreateAccount")
CREATE_ACCOUNTS = _rpc(Service.COMMAND, _ACCOUNTS, "CreateAccounts")
GET_ACCOUNT = _rpc(Service.COMMAND, _ACCOUNTS, "GetAccount")
SET_ACCOUNT_STATUS = _rpc(Service.COMMAND, _ACCOUNTS, "SetAccountStatus")
SET_OVERDRAFT_LIMIT = _rpc(Service.COMMAND, _ACCOUNTS, "SetOverdraftLimit")
LINK_EXTERNAL_IDENTIFIER = _rpc(Service.COMMAND, _ACCOUNTS, "LinkExternalIdentifier")
RESOLVE_EXTERNAL_IDENTIFIER = _rpc(Service.COMMAND, _ACCOUNTS, "ResolveExternalIdentifier")

_TRANSFERS = transfer_service_pb2.DESCRIPTOR
SUBMIT_TRANSFER = _rpc(Service.COMMAND, _TRANSFERS, "SubmitTransfer")
SUBMIT_TRANSFERS = _rpc(Service.COMMAND, _TRANSFERS, "SubmitTransfers")
SUBMIT_TRANSFER_GROUP = _rpc(Service.COMMAND, _TRANSFERS, "SubmitTransferGroup")
HOLD_FUNDS = _rpc(Service.COMMAND, _TRANSFERS, "HoldFunds")
CAPTURE_HOLD = _rpc(Service.COMMAND, _TRANSFERS, "CaptureHold")
RELEASE_HOLD = _rpc(Service.COMMAND, _TRANSFERS, "ReleaseHold")
REFUND_TRANSFER = _rpc(Service.COMMAND, _TRANSFERS, "RefundTransfer")
REVERSE_TRANSFER = _rpc(Service.COMMAND, _TRANSFERS, "ReverseTransfer")
APPROVE_REVIEW = _rpc(Service.COMMAND, _TRANSFERS, "ApproveReview")
REFUSE_REVIEW = _rpc(Service.COMMAND, _TRANSFERS, "RefuseReview")
STREAM_TRANSFERS = _rpc(Service.COMMAND, _TRANSFERS, "StreamTransfers")
LOOKUP_TRANSFER = _rpc(Service.COMMAND, _TRANSFERS, "LookupTransfer")

ERASE_SUBJECT = _rpc(Service.COMMAND, personal_data_service_pb2.DESCRIPTOR, "EraseSubject")

_POLICY = policy_service_pb2.DESCRIPTOR
LIST_STEP_UP_POLICIES = _rpc(Service.COMMAND, _POLICY, "ListStepUpPolicies")
SET_STEP_UP_POLICY = _rpc(Service.COMMAND, _POLICY, "SetStepUpPolicy")
REMOVE_STEP_UP_POLICY = _rpc(Service.COMMAND, _POLICY, "RemoveStepUpPolicy")
LIST_GRANTS = _rpc(Service.COMMAND, _POLICY, "ListGrants")
GIVE_GRANT = _rpc(Service.COMMAND, _POLICY, "GiveGrant")
TAKE_GRANT = _rpc(Service.COMMAND, _POLICY, "TakeGrant")
GET_LIMIT = _rpc(Service.COMMAND, _POLICY, "GetLimit")
LIST_LIMITS = _rpc(Service.COMMAND, _POLICY, "ListLimits")
SET_LIMIT = _rpc(Service.COMMAND, _POLICY, "SetLimit")
REMOVE_LIMIT = _rpc(Service.COMMAND, _POLICY, "RemoveLimit")
LIST_RISK_RULES = _rpc(Service.COMMAND, _POLICY, "ListRiskRules")
SET_RISK_RULE = _rpc(Service.COMMAND, _POLICY, "SetRiskRule")
REMOVE_RISK_RULE = _rpc(Service.COMMAND, _POLICY, "RemoveRiskRule")

_WEBHOOKS = webhook_service_pb2.DESCRIPTOR
CREATE_SUBSCRIPTION = _rpc(Service.COMMAND, _WEBHOOKS, "CreateSubscription")
LIST_SUBSCRIPTIONS = _rpc(Service.COMMAND, _WEBHOOKS, "ListSubscriptions")
DISABLE_SUBSCRIPTION = _rpc(Service.COMMAND, _WEBHOOKS, "DisableSubscription")
ENABLE_SUBSCRIPTION = _rpc(Service.COMMAND, _WEBHOOKS, "EnableSubscription")
ROTATE_SECRET = _rpc(Service.COMMAND, _WEBHOOKS, "RotateSecret")
LIST_DELIVERIES = _rpc(Service.COMMAND, _WEBHOOKS, "ListDeliveries")
REPLAY_DELIVERY = _rpc(Service.COMMAND, _WEBHOOKS, "ReplayDelivery")

_HISTORY = history_service_pb2.DESCRIPTOR
GET_TRANSFER = _rpc(Service.QUERY, _HISTORY, "GetTransfer")
LIST_TRANSFERS = _rpc(Service.QUERY, _HISTORY, "ListTransfers")
GET_BALANCE = _rpc(Service.QUERY, _HISTORY, "GetBalance")
GET_STATEMENT = _rpc(Service.QUERY, _HISTORY, "GetStatement")
SEARCH_TRANSFERS = _rpc(Service.QUERY, _HISTORY, "SearchTransfers")
WATCH_TRANSFERS = _rpc(Service.QUERY, _HISTORY, "WatchTransfers")

_ANALYTICS = analytics_service_pb2.DESCRIPTOR
TRANSFER_VOLUME = _rpc(Service.QUERY, _ANALYTICS, "TransferVolume")
TOP_COUNTERPARTIES = _rpc(Service.QUERY, _ANALYTICS, "TopCounterparties")
KIND_BREAKDOWN = _rpc(Service.QUERY, _ANALYTICS, "KindBreakdown")
INSTITUTION_POSITIONS = _rpc(Service.QUERY, _ANALYTICS, "InstitutionPositions")
ACCOUNT_ACTIVITY = _rpc(Service.QUERY, _ANALYTICS, "AccountActivity")
DECLINE_STATISTICS = _rpc(Service.QUERY, _ANALYTICS, "DeclineStatistics")
LATENCY_OF_PROJECTION = _rpc(Service.QUERY, _ANALYTICS, "LatencyOfProjection")

_SIGNING = signing_service_pb2.DESCRIPTOR
ENROLL_PIN = _rpc(Service.SIGNING, _SIGNING, "EnrollPin")
CHANGE_PIN = _rpc(Service.SIGNING, _SIGNING, "ChangePin")
RESET_PIN = _rpc(Service.SIGNING, _SIGNING, "ResetPin")
UNLOCK_PIN = _rpc(Service.SIGNING, _SIGNING, "UnlockPin")
CREATE_CHALLENGE = _rpc(Service.SIGNING, _SIGNING, "CreateChallenge")
ENROLL_DEVICE = _rpc(Service.SIGNING, _SIGNING, "EnrollDevice")
VOUCH_FOR_DEVICE = _rpc(Service.SIGNING, _SIGNING, "VouchForDevice")
LIST_DEVICES = _rpc(Service.SIGNING, _SIGNING, "ListDevices")
REVOKE_DEVICE = _rpc(Service.SIGNING, _SIGNING, "RevokeDevice")
GET_PUBLIC_KEYS = _rpc(Service.SIGNING, _SIGNING, "GetPublicKeys")
