"""Where everything of a stack is reached, for the command line, the tests and the demo."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from paycore.runtime.tls import TlsFiles

DATABASE = "paycore"
INDEX_PREFIX = "paycore"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Addresses of one stack. They stay the same over restarts of its parts.

    A part that was not asked for has an address too, at which nothing answers.
    """

    state: Path
    command_target: str
    query_target: str
    signing_target: str
    projector_target: str
    """Health only."""
    postgres_admin_dsn: str = field(repr=False)
    """The server's administrator, on its maintenance database."""
    postgres_dsn: Mapping[str, str] = field(repr=False)
    """Role to DSN on the database `paycore`."""
    replica_admin_dsn: str | None = field(repr=False)
    """The replica's administrator, on its maintenance database; None where there is no replica."""
    redis_url: str = field(repr=False)
    projector_redis_url: str = field(repr=False)
    """As the user who writes the stream of events."""
    stream_url: str = field(repr=False)
    """As the user who reads it."""
    elasticsearch_url: str
    elasticsearch_user: str
    elasticsearch_password: str = field(repr=False)
    index_prefix: str
    metrics_urls: Mapping[str, tuple[str, ...]]
    """Service to its Prometheus endpoints, one for each of its processes."""
    tls: Mapping[str, TlsFiles]
    """Identity to its PEM files."""

    def dsn(self, role: str, database: str) -> str:
        """Return the DSN of `role` on another database of the same server."""
        return with_place(self.postgres_dsn[role], database=database)

    def replica_dsn(self, role: str, database: str) -> str | None:
        """Return the DSN of `role` on a database of the replica; None where there is none."""
        if self.replica_admin_dsn is None:
            return None
        here = urlsplit(self.dsn(role, database))
        there = urlsplit(self.replica_admin_dsn).netloc.rpartition("@")[2]
        place = f"{here.netloc.rpartition('@')[0]}@{there}"
        return urlunsplit(here._replace(netloc=place))

    def target(self, service: str) -> str:
        """Return host:port of a service: command, signing, projector or query."""
        targets = {
            "command": self.command_target,
            "signing": self.signing_target,
            "projector": self.projector_target,
            "query": self.query_target,
        }
        return targets[service]


def with_place(
    dsn: str, *, database: str, user: str | None = None, password: str | None = None
) -> str:
    """Return `dsn`, which must be in URL form, for another database and maybe another user."""
    parts = urlsplit(dsn)
    place = parts.netloc
    if user is not None:
        host = place.rpartition("@")[2]
        place = f"{quote(user, safe='')}:{quote(password or '', safe='')}@{host}"
    return urlunsplit((parts.scheme, place, f"/{quote(database, safe='')}", parts.query, ""))
