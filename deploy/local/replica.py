"""A replica of the embedded PostgreSQL: streaming replication, read only, on a port of its own.

It holds nothing of its own, so each start of the stack copies the primary anew: a copy of an
earlier run may be of another history, or further behind than the primary keeps its log. After a
death within a run it goes on from where it was.
"""

import shutil
from pathlib import Path

from deploy.local.errors import PartStartError, StateUnreadableError
from deploy.local.files import private_folder, tail, write_private
from deploy.local.part import Preparation
from deploy.local.ports import LOOPBACK
from deploy.local.postgres import ADMINISTRATOR, SETTINGS, Postgres
from deploy.local.privileges import RunAs, own
from deploy.local.process import Launch, run_once

COPY_TIMEOUT_S = 600.0

REPLICA_SETTINGS = """
# What a reading here still needs is not cleaned up at the primary, which would end the reading.
# That holds old rows there for as long, which the time-outs of paycore_query bound.
hot_standby_feedback = on
primary_conninfo = 'host={host} port={primary} user={user} password={password} \
application_name=replica sslmode=disable'
"""


class Replica(Postgres):
    """Follows the embedded server; the same roles and passwords, for reading only."""

    name = "replica"
    start_timeout_s = 180.0

    def __init__(
        self, folder: Path, port: int, primary_port: int, password: str, user: RunAs | None
    ) -> None:
        super().__init__(folder, port, password, user)
        self._primary_port = primary_port
        self._copied = False

    def prepare(self, preparation: Preparation) -> None:
        """Copy the primary at the first start, and write the settings."""
        own(private_folder(self._folder), self._user)
        self._await_orphans()
        if not self._copied:
            self._copy()
            self._copied = True
        if not (self._data / "PG_VERSION").exists():
            raise StateUnreadableError(f"{self._data} is no database cluster")
        settings = self._data / "paycore.conf"
        write_private(
            settings,
            SETTINGS.format(port=self._port)
            + REPLICA_SETTINGS.format(
                host=LOOPBACK,
                primary=self._primary_port,
                user=ADMINISTRATOR,
                password=self._password,
            ),
        )
        own(settings, self._user)

    def _copy(self) -> None:
        """Run pg_basebackup in a folder beside: one that was cut is never taken for whole."""
        unfinished = self._folder / "data.unfinished"
        for folder in (unfinished, self._data):
            if folder.exists():
                shutil.rmtree(folder)
        log = self._folder / "basebackup.log"
        launch = Launch(
            argv=[
                str(self._programs / "pg_basebackup"),
                f"--pgdata={unfinished}",
                f"--host={LOOPBACK}",
                f"--port={self._primary_port}",
                f"--username={ADMINISTRATOR}",
                "--no-password",
                "--checkpoint=fast",
                "--wal-method=stream",
            ],
            cwd=self._folder,
            # Not among the arguments, which every user of the machine may read.
            environment={**self._environment(), "PGPASSWORD": self._password},
            user=self._user,
            reaches=[self._programs / "pg_basebackup", self._folder / "data"],
        )
        code = run_once(launch, log, COPY_TIMEOUT_S)
        if code != 0:
            raise PartStartError(self.name, f"pg_basebackup ended with code {code}", log, tail(log))
        log.unlink()
        signal = unfinished / "standby.signal"
        write_private(signal, "")
        own(signal, self._user)
        unfinished.rename(self._data)
