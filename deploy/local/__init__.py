"""The local stack: real PostgreSQL, Redis, Elasticsearch and the four services, supervised."""

from deploy.local.endpoints import DATABASE, INDEX_PREFIX, Endpoints
from deploy.local.errors import (
    DownloadError,
    NoFreePortError,
    PartStartError,
    PrivilegeError,
    StackError,
    StartCancelledError,
    StateInUseError,
    StateUnreadableError,
    UnknownPartError,
)
from deploy.local.events import LogObserver, Observer, PartState
from deploy.local.record import load_stack
from deploy.local.settings import StackSettings
from deploy.local.state import default_state
from deploy.local.supervisor import ALL_PARTS, REPLICA, STORES, LocalStack

__all__ = [
    "ALL_PARTS",
    "DATABASE",
    "INDEX_PREFIX",
    "REPLICA",
    "STORES",
    "DownloadError",
    "Endpoints",
    "LocalStack",
    "LogObserver",
    "NoFreePortError",
    "Observer",
    "PartStartError",
    "PartState",
    "PrivilegeError",
    "StackError",
    "StackSettings",
    "StartCancelledError",
    "StateInUseError",
    "StateUnreadableError",
    "UnknownPartError",
    "default_state",
    "load_stack",
]
