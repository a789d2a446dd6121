"""Which paycore a command works on: a local stack's record, or addresses in the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pydantic import SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from deploy.local import DATABASE, default_state, load_stack
from deploy.local.state import StateFolder
from operations.verify import IndexAddress
from paycore.client import PaycoreClient, Timeouts, TlsFiles
from paycore.client.addresses import DEFAULT_CONNECTIONS
from paycore.domain.stream import DEFAULT_PREFIX
from paycore.runtime.settings import read_key

DEFAULT_IDENTITY = "app"
INTERACTIVE = Timeouts(ordinary_s=2.0)
"""A person waits rather than starts again."""


class DeploymentSettings(BaseSettings):
    """Addresses of a paycore that runs elsewhere, from variables `PAYCORE_*`.

    Where `command_target` is set these are used; else the record in the state folder.
    """

    model_config = SettingsConfigDict(env_prefix="PAYCORE_", extra="ignore")

    command_target: str | None = None
    query_target: str | None = None
    signing_target: str | None = None
    projector_target: str | None = None
    """Health only."""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None
    insecure: bool = False
    """Plain text, against services that allow it."""
    audit_dsn: SecretStr | None = None
    """DSN of role paycore_audit, for verification."""
    trail_key_file: Path | None = None
    """The command service's: to look for a device or an address in the trail."""
    operator_dsn: SecretStr | None = None
    """DSN of role paycore_operator, which asks the projector for things."""
    redis_url: SecretStr | None = None
    stream_url: SecretStr | None = None
    """Redis, as a user who may read the stream of events."""
    stream_prefix: str = DEFAULT_PREFIX
    elasticsearch_url: str | None = None
    elasticsearch_user: str = ""
    elasticsearch_password: SecretStr = SecretStr("")
    index_prefix: str = "paycore"

    @model_validator(mode="after")
    def _transport_is_stated(self) -> Self:
        files = (self.tls_certificate, self.tls_key, self.tls_ca)
        if self.command_target is not None and not self.insecure and None in files:
            raise ValueError(
                "with PAYCORE_COMMAND_TARGET set, PAYCORE_TLS_CERTIFICATE, PAYCORE_TLS_KEY and"
                " PAYCORE_TLS_CA are needed too (or PAYCORE_INSECURE=true)"
            )
        return self

    def tls(self) -> TlsFiles | None:
        """The caller's files; None for plain text."""
        if self.insecure or not (self.tls_certificate and self.tls_key and self.tls_ca):
            return None
        return TlsFiles(self.tls_certificate, self.tls_key, self.tls_ca)


class UnknownIdentityError(Exception):
    """The local stack made no certificate of that name."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """Addresses of one paycore and the files of one caller. Secrets are not in its `repr`."""

    targets: Mapping[str, str]
    """Service (command, query, signing, projector) to host:port."""
    tls: TlsFiles | None
    audit_dsn: str | None = field(repr=False)
    operator_dsn: str | None = field(repr=False)
    redis_url: str | None = field(repr=False)
    index: IndexAddress | None
    state: Path | None
    """The state folder, where it is a local stack."""
    trail_key: bytes | None = field(default=None, repr=False)
    """The key of the hints in security events."""
    replica_dsn: str | None = field(default=None, repr=False)
    """DSN of role paycore_audit on the replica, where there is one."""
    stream_url: str | None = field(default=None, repr=False)
    """Redis, as the user who reads the stream of events."""
    stream_prefix: str = DEFAULT_PREFIX

    def client(
        self, *, connections: int = DEFAULT_CONNECTIONS, timeouts: Timeouts = INTERACTIVE
    ) -> PaycoreClient:
        """A client as this caller. Must be made inside the event loop."""
        return PaycoreClient(
            self.targets["command"],
            query_target=self.targets.get("query"),
            signing_target=self.targets.get("signing"),
            tls=self.tls,
            connections=connections,
            timeouts=timeouts,
        )


def find_deployment(state: Path | None, identity: str = DEFAULT_IDENTITY) -> Deployment:
    """The deployment that the environment names, else the local stack in `state`.

    `identity` chooses among the local stack's certificates. Raises ValueError (of pydantic) when
    the environment is contradictory, StackError when no stack was ever started, and
    UnknownIdentityError.
    """
    settings = DeploymentSettings()
    if settings.command_target is not None:
        return _named(settings)
    return _local(state or default_state(), identity)


def _named(settings: DeploymentSettings) -> Deployment:
    targets = {
        "command": settings.command_target,
        "query": settings.query_target,
        "signing": settings.signing_target,
        "projector": settings.projector_target,
    }
    index = None
    if settings.elasticsearch_url is not None:
        index = IndexAddress(
            settings.elasticsearch_url,
            settings.elasticsearch_user,
            settings.elasticsearch_password.get_secret_value(),
            settings.index_prefix,
        )
    return Deployment(
        targets={name: target for name, target in targets.items() if target is not None},
        tls=settings.tls(),
        audit_dsn=None if settings.audit_dsn is None else settings.audit_dsn.get_secret_value(),
        operator_dsn=(
            None if settings.operator_dsn is None else settings.operator_dsn.get_secret_value()
        ),
        redis_url=None if settings.redis_url is None else settings.redis_url.get_secret_value(),
        stream_url=None if settings.stream_url is None else settings.stream_url.get_secret_value(),
        stream_prefix=settings.stream_prefix,
        index=index,
        state=None,
        trail_key=None if settings.trail_key_file is None else read_key(settings.trail_key_file),
    )


def _local(state: Path, identity: str) -> Deployment:
    endpoints = load_stack(state)
    trail_key = StateFolder(state).trail_key_file
    if identity not in endpoints.tls:
        known = ", ".join(sorted(endpoints.tls))
        raise UnknownIdentityError(f"no identity {identity!r} in {state}; there are: {known}")
    return Deployment(
        targets={
            "command": endpoints.command_target,
            "query": endpoints.query_target,
            "signing": endpoints.signing_target,
            "projector": endpoints.projector_target,
        },
        tls=endpoints.tls[identity],
        audit_dsn=endpoints.postgres_dsn["paycore_audit"],
        operator_dsn=endpoints.postgres_dsn["paycore_operator"],
        redis_url=endpoints.redis_url,
        stream_url=endpoints.stream_url,
        stream_prefix=DEFAULT_PREFIX,
        index=IndexAddress(
            endpoints.elasticsearch_url,
            endpoints.elasticsearch_user,
            endpoints.elasticsearch_password,
            endpoints.index_prefix,
        ),
        state=state,
        # A stack that was last started by a release before has none.
        trail_key=read_key(trail_key) if trail_key.exists() else None,
        replica_dsn=endpoints.replica_dsn("paycore_audit", DATABASE),
    )
