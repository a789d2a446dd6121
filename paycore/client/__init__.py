"""What callers of paycore use: typed values in and out, retries that are safe, one error a reason.

`PaycoreClient` is for callers with an event loop, `paycore.client.blocking` for those without.
"""

from paycore.client.asynchronous import PaycoreClient
from paycore.client.core import Surroundings
from paycore.client.devices import Challenge, DeviceKey, EnrolledDevice
from paycore.client.model import (
    Account,
    AccountName,
    AccountReceipt,
    Actor,
    Balance,
    BulkReceipt,
    Counterparties,
    Counterparty,
    Decline,
    Erasure,
    Freshness,
    GroupReceipt,
    HoldOrder,
    Interval,
    KeyPurpose,
    Money,
    NewAccount,
    Note,
    PublicKey,
    RefusedItem,
    StepUpProof,
    Transfer,
    TransferFilter,
    TransferOrder,
    TransferPage,
    TransferReceipt,
    TransferView,
    Volume,
    VolumeBucket,
)
from paycore.client.retries import Timeouts
from paycore.client.search import SearchFilter, SearchPage, TotalCount
from paycore.client.statements import StatementEntry, StatementFilter, StatementPage
from paycore.client.statistics import (
    AccountActivity,
    ActivityBucket,
    DeclineStatistics,
    DeclineTotal,
    InstitutionFlow,
    InstitutionPosition,
    InstitutionPositions,
    KindBreakdown,
    KindTotal,
    LatencySummary,
    PostedTotal,
    ProjectionLatency,
    SinkLatency,
)
from paycore.client.watching import TransferWatch
from paycore.domain.accounts import AccountKind, AccountStatus
from paycore.domain.device_key import DeviceAlgorithm, DeviceSignature
from paycore.domain.identifiers import ExternalIdentifier
from paycore.domain.pin import Pin
from paycore.domain.sealed import Unreadable
from paycore.domain.transfers import StepUpBasis, TransferKind, TransferState
from paycore.runtime.tls import TlsFiles

__all__ = [
    "Account",
    "AccountActivity",
    "AccountKind",
    "AccountName",
    "AccountReceipt",
    "AccountStatus",
    "ActivityBucket",
    "Actor",
    "Balance",
    "BulkReceipt",
    "Challenge",
    "Counterparties",
    "Counterparty",
    "Decline",
    "DeclineStatistics",
    "DeclineTotal",
    "DeviceAlgorithm",
    "DeviceKey",
    "DeviceSignature",
    "EnrolledDevice",
    "Erasure",
    "ExternalIdentifier",
    "Freshness",
    "GroupReceipt",
    "HoldOrder",
    "InstitutionFlow",
    "InstitutionPosition",
    "InstitutionPositions",
    "Interval",
    "KeyPurpose",
    "KindBreakdown",
    "KindTotal",
    "LatencySummary",
    "Money",
    "NewAccount",
    "Note",
    "PaycoreClient",
    "Pin",
    "PostedTotal",
    "ProjectionLatency",
    "PublicKey",
    "RefusedItem",
    "SearchFilter",
    "SearchPage",
    "SinkLatency",
    "StatementEntry",
    "StatementFilter",
    "StatementPage",
    "StepUpBasis",
    "StepUpProof",
    "Surroundings",
    "Timeouts",
    "TlsFiles",
    "TotalCount",
    "Transfer",
    "TransferFilter",
    "TransferKind",
    "TransferOrder",
    "TransferPage",
    "TransferReceipt",
    "TransferState",
    "TransferView",
    "TransferWatch",
    "Unreadable",
    "Volume",
    "VolumeBucket",
]
