"""The four services of paycore: their environment, and readiness by gRPC health."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local.endpoints import DATABASE, Endpoints
from deploy.local.part import NotReadyError, Preparation
from deploy.local.process import Launch
from deploy.local.state import StateFolder
from paycore.runtime.channel import open_blocking_channel

PROBE_TIMEOUT_S = 2.0
SHUTDOWN_GRACE_S = 10
PROBE_IDENTITY = "operator"

CHECKOUT = Path(__file__).resolve().parents[2]
ACCESS_FILE = Path(__file__).with_name("access.toml")
LIMITS_FILE = Path(__file__).with_name("limits.toml")

MODULES = {
    "signing": "signing_service",
    "command": "command_service",
    "projector": "projector",
    "query": "query_service",
}


@dataclass(frozen=True, slots=True)
class Service:
    """One service as a part."""

    name: str
    target: str
    endpoints: Endpoints
    environment: Mapping[str, str]
    folder: Path
    niceness: int = 0

    @property
    def start_timeout_s(self) -> float:
        return 120.0

    @property
    def stop_grace_s(self) -> float:
        # Its own bound on draining, and the time that ending takes after it.
        return SHUTDOWN_GRACE_S + 5.0

    def prepare(self, preparation: Preparation) -> None:
        """Nothing to bring into place: certificates, keys and schema are there already."""

    def launch(self) -> Launch:
        return Launch(
            argv=[sys.executable, "-m", MODULES[self.name]],
            cwd=self.folder,
            environment={
                **self.environment,
                "PYTHONPATH": _python_path(),
                "PYTHONUNBUFFERED": "1",
            },
            niceness=self.niceness,
        )

    def probe(self) -> None:
        """Ask for the process's overall health over mTLS."""
        # A channel of its own each time: a shared one would wait out its reconnect backoff.
        tls = self.endpoints.tls[PROBE_IDENTITY]
        with open_blocking_channel(self.target, tls, service=self.name) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            try:
                reply = stub.Check(health_pb2.HealthCheckRequest(), timeout=PROBE_TIMEOUT_S)
            except grpc.RpcError as error:
                raise NotReadyError(f"{self.target} answers {error}") from error
        if reply.status != health_pb2.HealthCheckResponse.SERVING:
            status = health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)
            raise NotReadyError(f"{self.target} says {status}")


def service_environment(
    name: str,
    state: StateFolder,
    endpoints: Endpoints,
    processes: int,
    metrics_listen: str,
    changes: Mapping[str, str],
    *,
    with_redis: bool = True,
) -> dict[str, str]:
    """Return the settings of one service as environment variables.

    Variables of the supervisor's own environment with the service's prefix are passed on, so
    that `PAYCORE_COMMAND_LOG_LEVEL=debug make up` works; what the stack decides wins over
    them, and `changes` (names without the prefix) over both. Where Redis does not run, the
    projector writes no stream.
    """
    files = endpoints.tls[name]
    values = {
        "ENVIRONMENT": "local",
        "LISTEN": endpoints.target(name),
        "METRICS_LISTEN": metrics_listen,
        "TLS_CERTIFICATE": str(files.certificate),
        "TLS_KEY": str(files.key),
        "TLS_CA": str(files.ca),
        "REFLECTION": "true",
        "EVENTS_WINDOW_S": "1",
        "ACCESS_FILE": str(ACCESS_FILE),
        "SHUTDOWN_GRACE_S": str(SHUTDOWN_GRACE_S),
        **_own_settings(name, state, endpoints, processes, with_redis=with_redis),
        **changes,
    }
    prefix = f"PAYCORE_{name.upper()}_"
    inherited = {key: value for key, value in os.environ.items() if key.startswith(prefix)}
    return {**inherited, **{prefix + key: value for key, value in values.items()}}


def _own_settings(
    name: str, state: StateFolder, endpoints: Endpoints, processes: int, *, with_redis: bool
) -> dict[str, str]:
    elasticsearch = {
        "ELASTICSEARCH_URL": endpoints.elasticsearch_url,
        "ELASTICSEARCH_USER": endpoints.elasticsearch_user,
        "ELASTICSEARCH_PASSWORD": endpoints.elasticsearch_password,
        "INDEX_PREFIX": endpoints.index_prefix,
    }
    match name:
        case "command":
            return {
                "POSTGRES_DSN": endpoints.postgres_dsn["paycore_command"],
                "REDIS_URL": endpoints.redis_url,
                "SIGNING_TARGET": endpoints.signing_target,
                "PROCESSES": str(processes),
                "HASH_KEY_FILE": str(state.hash_key_file),
                "TRAIL_KEY_FILE": str(state.trail_key_file),
                "LIMITS_FILE": str(LIMITS_FILE),
                "WEBHOOK_HTTP": "true",
            }
        case "signing":
            return {
                "POSTGRES_DSN": endpoints.postgres_dsn["paycore_signing"],
                "KEYSTORE_FILE": str(state.keystore_file),
                "KEYSTORE_PASSPHRASE_FILE": str(state.keystore_passphrase_file),
            }
        case "projector":
            return {
                "POSTGRES_DSN": endpoints.postgres_dsn["paycore_projector"],
                "SIGNING_TARGET": endpoints.signing_target,
                **({"REDIS_URL": endpoints.projector_redis_url} if with_redis else {}),
                "WEBHOOK_HTTP": "true",
                "WEBHOOK_NETWORKS": "127.0.0.0/8,::1/128",
                "WEBHOOK_PUBLIC": "false",
                **elasticsearch,
            }
        case "query":
            return {
                "POSTGRES_DSN": endpoints.replica_dsn("paycore_query", DATABASE)
                or endpoints.postgres_dsn["paycore_query"],
                "TRAIL_DSN": endpoints.postgres_dsn["paycore_trail"],
                "PAGE_TOKEN_KEY_FILE": str(state.page_token_key_file),
                "SIGNING_TARGET": endpoints.signing_target,
                **elasticsearch,
            }
        case _:
            raise ValueError(f"no service {name!r}")


def _python_path() -> str:
    # The services run in the state folder and must import this checkout all the same.
    inherited = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(CHECKOUT), *([inherited] if inherited else [])])
