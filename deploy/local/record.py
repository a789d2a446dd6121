"""`stack.json`: what other processes may know of a stack, kept current while it runs.

It holds passwords inside DSNs and URLs, so only its owner can read it.
"""

import enum
import threading
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from deploy.local.endpoints import Endpoints
from deploy.local.errors import StateUnreadableError
from deploy.local.events import PartState
from deploy.local.files import write_private
from deploy.local.identity import ProcessIdentity
from paycore.runtime.tls import TlsFiles


class Phase(enum.StrEnum):
    """Where the stack as a whole stands."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class TlsRecord(_Model):
    """Paths of one identity's PEM files."""

    certificate: Path
    key: Path
    ca: Path


class EndpointsRecord(_Model):
    """The endpoints as they are written."""

    command_target: str
    query_target: str
    signing_target: str
    projector_target: str
    postgres_admin_dsn: str
    postgres_dsn: dict[str, str]
    replica_admin_dsn: str | None = None
    redis_url: str
    projector_redis_url: str = ""
    stream_url: str = ""
    elasticsearch_url: str
    elasticsearch_user: str
    elasticsearch_password: str
    index_prefix: str
    metrics_urls: dict[str, tuple[str, ...]]
    tls: dict[str, TlsRecord]


class PartRecord(_Model):
    """One part as last seen."""

    state: PartState
    restarts: int
    process: ProcessIdentity | None
    log: Path


class StackRecord(_Model):
    """All of `stack.json`."""

    phase: Phase = Phase.STOPPED
    failure: str | None = None
    supervisor: ProcessIdentity | None = None
    """The process that runs the stack; None once it was stopped in order."""
    ports: dict[str, tuple[int, ...]] = {}
    parts: dict[str, PartRecord] = {}
    endpoints: EndpointsRecord | None = None

    def is_run_by_a_living_process(self) -> bool:
        return self.supervisor is not None and self.supervisor.is_alive()


class StackFile:
    """Writes `stack.json`, one change after the other."""

    def __init__(self, path: Path, record: StackRecord) -> None:
        self._path = path
        self._record = record
        self._lock = threading.Lock()

    @property
    def record(self) -> StackRecord:
        return self._record

    def update(self, change: Callable[[StackRecord], StackRecord]) -> None:
        """Replace the record by `change` of it and write it."""
        with self._lock:
            self._record = change(self._record)
            write_private(self._path, self._record.model_dump_json(indent=2) + "\n")


def read_record(path: Path) -> StackRecord:
    """Read a `stack.json`; an absent one is that of a stack never started.

    Raises StateUnreadableError where the file is not one of ours.
    """
    try:
        content = path.read_text()
    except FileNotFoundError:
        return StackRecord()
    try:
        return StackRecord.model_validate_json(content)
    except ValidationError as error:
        # Its values are secrets, so the message names places only.
        places = ", ".join(".".join(map(str, item["loc"])) for item in error.errors())
        raise StateUnreadableError(f"{path} is not a stack's record (at: {places})") from None


def endpoints_record(endpoints: Endpoints) -> EndpointsRecord:
    return EndpointsRecord(
        command_target=endpoints.command_target,
        query_target=endpoints.query_target,
        signing_target=endpoints.signing_target,
        projector_target=endpoints.projector_target,
        postgres_admin_dsn=endpoints.postgres_admin_dsn,
        postgres_dsn=dict(endpoints.postgres_dsn),
        replica_admin_dsn=endpoints.replica_admin_dsn,
        redis_url=endpoints.redis_url,
        projector_redis_url=endpoints.projector_redis_url,
        stream_url=endpoints.stream_url,
        elasticsearch_url=endpoints.elasticsearch_url,
        elasticsearch_user=endpoints.elasticsearch_user,
        elasticsearch_password=endpoints.elasticsearch_password,
        index_prefix=endpoints.index_prefix,
        metrics_urls=dict(endpoints.metrics_urls),
        tls={
            name: TlsRecord(certificate=files.certificate, key=files.key, ca=files.ca)
            for name, files in endpoints.tls.items()
        },
    )


def endpoints_from(record: EndpointsRecord, state: Path) -> Endpoints:
    return Endpoints(
        state=state,
        command_target=record.command_target,
        query_target=record.query_target,
        signing_target=record.signing_target,
        projector_target=record.projector_target,
        postgres_admin_dsn=record.postgres_admin_dsn,
        postgres_dsn=record.postgres_dsn,
        replica_admin_dsn=record.replica_admin_dsn,
        redis_url=record.redis_url,
        # A stack that was last started by a release before had one user.
        projector_redis_url=record.projector_redis_url or record.redis_url,
        stream_url=record.stream_url or record.redis_url,
        elasticsearch_url=record.elasticsearch_url,
        elasticsearch_user=record.elasticsearch_user,
        elasticsearch_password=record.elasticsearch_password,
        index_prefix=record.index_prefix,
        metrics_urls=record.metrics_urls,
        tls={
            name: TlsFiles(files.certificate, files.key, files.ca)
            for name, files in record.tls.items()
        },
    )


def load_stack(state: Path) -> Endpoints:
    """Return the endpoints of the stack in `state`, which another process may run.

    Raises StateUnreadableError where none was started there.
    """
    path = state / "stack.json"
    record = read_record(path)
    if record.endpoints is None:
        raise StateUnreadableError(f"no stack was started in {state}: run `make up` first")
    return endpoints_from(record.endpoints, state)
