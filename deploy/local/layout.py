"""Which address each part of a stack gets, from free ports or from servers named outside."""

from collections.abc import Mapping
from dataclasses import dataclass

from deploy.local.certificates import IDENTITIES, tls_files
from deploy.local.elasticsearch import USER as ELASTICSEARCH_USER
from deploy.local.endpoints import DATABASE, INDEX_PREFIX, Endpoints, with_place
from deploy.local.errors import StackError
from deploy.local.ports import LOOPBACK, PortClaims
from deploy.local.postgres import administrator_dsn
from deploy.local.redis import PROJECTOR, READER, server_url
from deploy.local.settings import StackSettings
from deploy.local.state import Secrets, StateFolder

SERVICES = ("signing", "command", "projector", "query")
URL_SCHEMES = ("postgresql://", "postgres://")


@dataclass(frozen=True, slots=True)
class Layout:
    """The ports of a stack by what they are for, and the endpoints that follow from them."""

    ports: Mapping[str, tuple[int, ...]]
    endpoints: Endpoints

    def port(self, name: str) -> int:
        return self.ports[name][0]

    def metrics_listen(self, service: str) -> str:
        """The address of a service's first process; the next ones follow port by port."""
        return f"{LOOPBACK}:{self.port(f'{service}-metrics')}"


def lay_out(
    state: StateFolder,
    secrets: Secrets,
    settings: StackSettings,
    claims: PortClaims,
    earlier: Mapping[str, tuple[int, ...]],
    processes: int,
    *,
    replica: bool = False,
) -> Layout:
    """Claim ports, those of the `earlier` run where they are still free.

    Raises NoFreePortError, and StackError where a DSN is not in URL form.
    """
    wanted = {
        "postgres": 1,
        "replica": 1,
        "redis": 1,
        "elasticsearch": 1,
        "elasticsearch-transport": 1,
        **dict.fromkeys(SERVICES, 1),
        **{f"{service}-metrics": 1 for service in SERVICES},
        "command-metrics": processes,
    }
    ports = {
        name: claims.claim(count, preferred=earlier.get(name, ())) for name, count in wanted.items()
    }
    return Layout(ports, _endpoints(state, secrets, settings, ports, replica=replica))


def _endpoints(
    state: StateFolder,
    secrets: Secrets,
    settings: StackSettings,
    ports: Mapping[str, tuple[int, ...]],
    *,
    replica: bool,
) -> Endpoints:
    admin_dsn = administrator_dsn(ports["postgres"][0], secrets.postgres_admin)
    if settings.postgres_dsn is not None:
        admin_dsn = settings.postgres_dsn.get_secret_value()
        if not admin_dsn.startswith(URL_SCHEMES):
            raise StackError("PAYCORE_STACK_POSTGRES_DSN must be a URL: postgresql://...")
    redis_port = ports["redis"][0]
    redis_url = server_url(redis_port, secrets.redis)
    redis_urls = {
        user: server_url(redis_port, password, user)
        for user, password in secrets.redis_users.items()
    }
    if settings.redis_url is not None:
        redis_url = settings.redis_url.get_secret_value()
        redis_urls = dict.fromkeys(redis_urls, redis_url)
    elasticsearch = (
        f"http://{LOOPBACK}:{ports['elasticsearch'][0]}",
        ELASTICSEARCH_USER,
        secrets.elasticsearch,
    )
    if settings.elasticsearch_url is not None:
        elasticsearch = (
            settings.elasticsearch_url,
            settings.elasticsearch_user,
            settings.elasticsearch_password.get_secret_value(),
        )
    return Endpoints(
        state=state.root,
        command_target=f"{LOOPBACK}:{ports['command'][0]}",
        query_target=f"{LOOPBACK}:{ports['query'][0]}",
        signing_target=f"{LOOPBACK}:{ports['signing'][0]}",
        projector_target=f"{LOOPBACK}:{ports['projector'][0]}",
        postgres_admin_dsn=admin_dsn,
        postgres_dsn={
            role: with_place(admin_dsn, database=DATABASE, user=role, password=password)
            for role, password in secrets.roles.items()
        },
        replica_admin_dsn=(
            administrator_dsn(ports["replica"][0], secrets.postgres_admin) if replica else None
        ),
        redis_url=redis_url,
        projector_redis_url=redis_urls[PROJECTOR],
        stream_url=redis_urls[READER],
        elasticsearch_url=elasticsearch[0],
        elasticsearch_user=elasticsearch[1],
        elasticsearch_password=elasticsearch[2],
        index_prefix=INDEX_PREFIX,
        metrics_urls={
            service: tuple(
                f"http://{LOOPBACK}:{port}/metrics" for port in ports[f"{service}-metrics"]
            )
            for service in SERVICES
        },
        tls={name: tls_files(state.tls, name) for name in IDENTITIES},
    )
