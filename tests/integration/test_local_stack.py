"""The local stack as its users see it: real parts, started, watched, killed and stopped."""

import contextlib
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
import urllib3

from deploy.local import (
    Endpoints,
    LocalStack,
    PartStartError,
    PartState,
    StackError,
    StackSettings,
    StateInUseError,
    UnknownPartError,
    load_stack,
)
from deploy.local.identity import ProcessIdentity, wait_gone
from deploy.local.privileges import run_as
from deploy.local.process import Launch, ManagedProcess
from deploy.local.record import Phase, StackRecord, read_record

CHECKOUT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 120.0


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of the test's own, gone after it."""
    with tempfile.TemporaryDirectory(prefix="paycore-stack-") as name:
        yield Path(name) / "state"


@pytest.fixture
def stores(stack: LocalStack) -> LocalStack:
    """The stack of all tests, whose three stores are only looked at here."""
    return stack


class Notes:
    """Keeps the warnings of a stack."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.states: list[tuple[str, PartState]] = []

    def state(self, part: str, state: PartState, detail: str) -> None:
        self.states.append((part, state))

    def progress(self, part: str, what: str, done: int, total: int) -> None: ...

    def warning(self, text: str) -> None:
        self.warnings.append(text)


class CommandLine:
    """`python -m deploy.local` as a process of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deploy.local", *arguments, "--state", str(folder)],
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def record(self) -> StackRecord:
        return read_record(self.folder / "stack.json")

    def wait_for(self, reached: Callable[[StackRecord], bool]) -> StackRecord:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not reached(self.record()):
            if self.process.poll() is not None:
                raise AssertionError(f"ended: {self.output()}")
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return self.record()

    def wait_ready(self) -> StackRecord:
        own = self.process.pid
        return self.wait_for(
            lambda record: (
                record.phase is Phase.READY
                and record.supervisor is not None
                and record.supervisor.pid == own
            )
        )

    def output(self) -> str:
        return self.process.communicate(timeout=60)[0]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate(timeout=60)


@pytest.fixture
def command_line(folder: Path) -> Iterator[Callable[..., CommandLine]]:
    started: list[CommandLine] = []

    def start(*arguments: str) -> CommandLine:
        started.append(CommandLine(folder, *arguments))
        return started[-1]

    yield start
    for process in started:
        process.close()


def processes_of(record: StackRecord) -> list[ProcessIdentity]:
    return [part.process for part in record.parts.values() if part.process is not None]


def can_connect(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def search(
    endpoints: Endpoints, method: str, path: str, **more: object
) -> urllib3.BaseHTTPResponse:
    user = f"{endpoints.elasticsearch_user}:{endpoints.elasticsearch_password}"
    headers = urllib3.make_headers(basic_auth=user)
    url = endpoints.elasticsearch_url + path
    return urllib3.request(method, url, headers=headers, timeout=20, retries=False, **more)  # type: ignore[arg-type]


class TestStoresAreClosed:
    def test_postgres_refuses_without_and_with_a_wrong_password(self, stores: LocalStack) -> None:
        good = stores.endpoints.postgres_dsn["paycore_command"]
        user, _, place = good.removeprefix("postgresql://").rpartition("@")
        name, _, password = user.partition(":")

        with psycopg.connect(good) as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("paycore_command",)
        with pytest.raises(psycopg.OperationalError, match="no password supplied"):
            psycopg.connect(f"postgresql://{name}@{place}")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(f"postgresql://{name}:{password[::-1]}@{place}")

    def test_postgres_keeps_passwords_as_scram_and_every_login_needs_one(
        self, stores: LocalStack
    ) -> None:
        with psycopg.connect(stores.endpoints.postgres_admin_dsn) as connection:
            hashes = connection.execute(
                "SELECT rolpassword FROM pg_authid WHERE rolcanlogin"
            ).fetchall()
            methods = connection.execute("SELECT DISTINCT auth_method FROM pg_hba_file_rules")
            assert {row[0] for row in methods} == {"scram-sha-256"}
        assert len(hashes) >= 7
        assert all(row[0].startswith("SCRAM-SHA-256$") for row in hashes)

    def test_redis_refuses_without_and_with_a_wrong_password(self, stores: LocalStack) -> None:
        url = stores.endpoints.redis_url
        place = url.rpartition("@")[2]

        with redis.Redis.from_url(url) as client:
            assert client.ping()
        with (
            redis.Redis.from_url(f"redis://{place}") as client,
            pytest.raises(redis.AuthenticationError),
        ):
            client.ping()
        with (
            redis.Redis.from_url(f"redis://:wrong@{place}") as client,
            pytest.raises(redis.AuthenticationError),
        ):
            client.ping()

    @pytest.mark.parametrize("user", [None, "elastic:wrong", "elastic:"])
    def test_elasticsearch_refuses_without_the_password(
        self, stores: LocalStack, user: str | None
    ) -> None:
        headers = urllib3.make_headers(basic_auth=user) if user else {}
        for path in ("/_cluster/health", "/_search", "/paycore-transfers/_doc/1"):
            reply = urllib3.request(
                "GET",
                stores.endpoints.elasticsearch_url + path,
                headers=headers,
                timeout=20,
                retries=False,
            )
            assert reply.status == 401

    @pytest.mark.parametrize("part", ["postgres", "redis", "elasticsearch"])
    def test_stores_listen_on_loopback_only(self, stores: LocalStack, part: str) -> None:
        addresses = {
            connection.laddr.ip.removeprefix("::ffff:")
            for pid in stores.part_pids(part)
            for connection in psutil.Process(pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }

        assert addresses == {"127.0.0.1"}

    @pytest.mark.parametrize("part", ["postgres", "redis", "elasticsearch"])
    def test_no_store_runs_as_root_or_shows_a_password(self, stores: LocalStack, part: str) -> None:
        secrets = json.loads((stores.endpoints.state / "secrets.json").read_text())
        words = [secrets["postgres_admin"], secrets["redis"], secrets["elasticsearch"]]

        for pid in stores.part_pids(part):
            assert psutil.Process(pid).uids().effective != 0
            shown = " ".join(psutil.Process(pid).cmdline())
            assert not any(word in shown for word in words)


class TestStoresAreSetUp:
    def test_postgres_logs_no_value_of_a_refused_row(self, stores: LocalStack) -> None:
        with psycopg.connect(stores.endpoints.postgres_admin_dsn, autocommit=True) as connection:
            connection.execute("CREATE TABLE canaries (word text PRIMARY KEY)")
            connection.execute("INSERT INTO canaries VALUES ('canary-7319')")
            with pytest.raises(psycopg.errors.UniqueViolation):
                connection.execute("INSERT INTO canaries VALUES ('canary-7319')")
            connection.execute("DROP TABLE canaries")

        log = stores.part_log("postgres").read_text()
        assert "duplicate key value" in log
        assert "canary-7319" not in log

    def test_redis_keeps_nothing_on_disk(self, stores: LocalStack) -> None:
        with redis.Redis.from_url(stores.endpoints.redis_url, decode_responses=True) as client:
            assert client.config_get("save") == {"save": ""}
            assert client.config_get("appendonly") == {"appendonly": "no"}

    def test_elasticsearch_makes_no_index_by_itself(self, stores: LocalStack) -> None:
        reply = search(stores.endpoints, "PUT", "/mistyped/_doc/1", json={"a": 1})

        assert reply.status == 404
        assert reply.json()["error"]["type"] == "index_not_found_exception"

    def test_elasticsearch_has_a_small_heap(self, stores: LocalStack) -> None:
        nodes = search(stores.endpoints, "GET", "/_nodes/stats/jvm").json()["nodes"]

        assert [node["jvm"]["mem"]["heap_max_in_bytes"] for node in nodes.values()] == [
            512 * 1024 * 1024
        ]

    def test_elasticsearch_keeps_its_temporary_files_in_the_state_folder(
        self, stores: LocalStack
    ) -> None:
        nodes = search(stores.endpoints, "GET", "/_nodes/jvm").json()["nodes"]

        place = stores.endpoints.state / "elasticsearch" / "tmp"
        for node in nodes.values():
            assert f"-Djava.io.tmpdir={place}" in node["jvm"]["input_arguments"]
            # The virtual machine itself would leave a file under /tmp.
            assert "-XX:-UsePerfData" in node["jvm"]["input_arguments"]

    def test_logs_are_files_closed_to_others(self, stores: LocalStack) -> None:
        for part in stores.parts:
            assert stores.part_log(part).stat().st_mode & 0o777 == 0o600

    def test_the_endpoints_can_be_loaded_by_another_process(self, stores: LocalStack) -> None:
        assert load_stack(stores.endpoints.state) == stores.endpoints


class TestData:
    def test_a_second_start_finds_data_secrets_certificates_and_ports(self, folder: Path) -> None:
        with LocalStack(folder, parts={"postgres", "redis"}) as stack:
            first = stack.endpoints
            with psycopg.connect(first.postgres_admin_dsn) as connection:
                connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        certificates = {path: path.read_bytes() for path in (folder / "tls").iterdir()}

        with LocalStack(folder, parts={"postgres", "redis"}) as stack:
            assert stack.endpoints == first
            with psycopg.connect(first.postgres_admin_dsn) as connection:
                assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)

        assert {path: path.read_bytes() for path in (folder / "tls").iterdir()} == certificates

    def test_postgres_is_durable_and_committed_rows_survive_its_killing(self, folder: Path) -> None:
        with LocalStack(folder, parts={"postgres"}) as stack:
            dsn = stack.endpoints.postgres_admin_dsn
            with psycopg.connect(dsn) as connection:
                for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
                    assert connection.execute(f"SHOW {name}").fetchone() == ("on",)
                version = connection.execute("SHOW server_version_num").fetchone()
                assert version is not None
                assert int(version[0]) // 10_000 == 18
                connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
            busy = psycopg.connect(dsn)
            processes = [ProcessIdentity.of(pid) for pid in stack.part_pids("postgres")]
            stack.kill_part("postgres")

            assert not any(process.is_alive() for process in processes if process is not None)
            assert (folder / "postgres" / "data" / "postmaster.pid").exists()
            with pytest.raises(psycopg.OperationalError):
                busy.execute("SELECT 1")
            busy.close()

            stack.start_part("postgres")
            with psycopg.connect(dsn) as connection:
                assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1000,)

    def test_a_lock_file_with_the_id_of_another_process_does_not_matter(self, folder: Path) -> None:
        with LocalStack(folder, parts={"postgres", "redis"}) as stack:
            stack.kill_part("postgres")
            lock = folder / "postgres" / "data" / "postmaster.pid"
            lines = lock.read_text().splitlines()
            # Redis runs as the same user, so PostgreSQL could not tell it from a server.
            lines[0] = str(stack.part_pids("redis")[0])
            lock.write_text("\n".join(lines) + "\n")

            stack.start_part("postgres")

            assert stack.part_state("postgres") is PartState.READY

    def test_an_interrupted_first_start_of_postgres_is_begun_anew(self, folder: Path) -> None:
        unfinished = folder / "postgres" / "data.unfinished"
        with LocalStack(folder, parts={"redis"}):
            unfinished.mkdir(parents=True)
            (unfinished / "PG_VERSION").write_text("18\n")

        with LocalStack(folder, parts={"postgres"}) as stack:
            assert stack.part_state("postgres") is PartState.READY
        assert not unfinished.exists()


class TestSupervision:
    def test_a_part_that_dies_comes_back_at_its_address_and_is_counted(self, folder: Path) -> None:
        notes = Notes()
        with LocalStack(folder, parts={"redis"}, observer=notes) as stack:
            first = stack.part_pids("redis")[0]
            os.kill(first, signal.SIGKILL)
            deadline = time.monotonic() + 20
            while stack.part_restarts("redis") == 0:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            stack.wait_part("redis", 20)

            assert stack.part_pids("redis")[0] != first
            assert stack.part_restarts("redis") == 1
            assert read_record(folder / "stack.json").parts["redis"].restarts == 1
            assert [text for text in notes.warnings if "redis died" in text] == notes.warnings
            assert len(notes.warnings) == 1
            with redis.Redis.from_url(stack.endpoints.redis_url) as client:
                assert client.ping()

    def test_a_part_stopped_on_purpose_stays_down_until_started(self, folder: Path) -> None:
        with LocalStack(folder, parts={"redis"}) as stack:
            stack.stop_part("redis")
            time.sleep(1)
            assert stack.part_state("redis") is PartState.STOPPED
            assert stack.part_pids("redis") == ()

            stack.start_part("redis")
            stack.restart_part("redis")
            assert stack.part_restarts("redis") == 0

    def test_a_part_that_cannot_start_stops_the_others_and_says_why(self, folder: Path) -> None:
        with LocalStack(folder, parts={"postgres"}):
            pass
        (folder / "postgres" / "data" / "postgresql.conf").write_text("no_such_setting = 1\n")
        notes = Notes()
        stack = LocalStack(folder, parts={"postgres", "redis"}, observer=notes)

        with pytest.raises(PartStartError, match="no_such_setting"):
            stack.start()

        assert ("redis", PartState.STOPPED) in notes.states
        record = read_record(folder / "stack.json")
        assert record.phase is Phase.FAILED
        assert record.supervisor is None
        assert processes_of(record) == []

    def test_an_unknown_part_is_refused(self, folder: Path) -> None:
        with pytest.raises(UnknownPartError, match="the parts are"):
            LocalStack(folder, parts={"mysql"})

    def test_stopping_twice_or_before_a_start_does_nothing(self, folder: Path) -> None:
        stack = LocalStack(folder, parts={"redis"})
        stack.stop()
        stack.start()
        stack.stop()
        stack.stop()

    def test_a_stopped_stack_leaves_no_process_and_no_port(self, folder: Path) -> None:
        with LocalStack(folder, parts={"postgres", "redis"}) as stack:
            record = read_record(folder / "stack.json")
            processes = [
                identity
                for part in stack.parts
                for pid in stack.part_pids(part)
                if (identity := ProcessIdentity.of(pid)) is not None
            ]
            ports = [record.ports[name][0] for name in ("postgres", "redis")]
            assert all(can_connect(port) for port in ports)

        assert not any(process.is_alive() for process in processes)
        assert not any(can_connect(port) for port in ports)
        assert read_record(folder / "stack.json").supervisor is None

    def test_two_stacks_run_at_once(self, folder: Path) -> None:
        stacks = [LocalStack(folder / name, parts={"postgres", "redis"}) for name in "ab"]
        try:
            with ThreadPoolExecutor(2) as pool:
                first, second = pool.map(LocalStack.start, stacks)
            for endpoints in (first, second):
                with redis.Redis.from_url(endpoints.redis_url) as client:
                    assert client.ping()
            assert first.postgres_admin_dsn != second.postgres_admin_dsn
            assert first.redis_url != second.redis_url
            # One stack's password opens nothing of the other.
            crossed = first.redis_url.rpartition("@")[0] + "@" + second.redis_url.rpartition("@")[2]
            with (
                redis.Redis.from_url(crossed) as client,
                pytest.raises(redis.AuthenticationError),
            ):
                client.ping()
        finally:
            for stack in stacks:
                stack.stop()


class TestOneSupervisorAFolder:
    def test_a_second_start_beside_a_living_one_is_refused(
        self, folder: Path, command_line: Callable[..., CommandLine]
    ) -> None:
        with LocalStack(folder, parts={"redis"}) as stack:
            first = stack.part_pids("redis")
            with pytest.raises(StateInUseError, match=f"process {os.getpid()}"):
                LocalStack(folder, parts={"redis"}).start()

            other = command_line("up", "--only", "redis")
            shown = other.output()
            assert other.process.returncode == 3
            assert "already run by process" in shown
            assert stack.part_pids("redis") == first

    def test_the_id_of_a_dead_supervisor_used_by_another_process_does_not_block(
        self, folder: Path
    ) -> None:
        folder.mkdir()
        dead = StackRecord(supervisor=ProcessIdentity(pid=os.getpid(), started="other boot:1"))
        (folder / "stack.json").write_text(dead.model_dump_json())

        with LocalStack(folder, parts={"redis"}) as stack:
            assert stack.part_state("redis") is PartState.READY

    def test_parts_end_by_themselves_when_their_supervisor_is_killed(
        self, command_line: Callable[..., CommandLine]
    ) -> None:
        stack = command_line("up", "--only", "redis", "--only", "postgres")
        processes = processes_of(stack.wait_ready())
        assert len(processes) == 2

        stack.process.kill()
        stack.process.wait()

        assert wait_gone(processes, 20) == []

    def test_leftovers_of_a_killed_supervisor_are_stopped_by_the_next_start(
        self, folder: Path, command_line: Callable[..., CommandLine]
    ) -> None:
        killed = command_line("up", "--only", "redis", "--only", "postgres")
        before = killed.wait_ready()
        # A suspended process cannot follow its supervisor by itself.
        left = before.parts["redis"].process
        assert left is not None
        left.send(signal.SIGSTOP)
        killed.process.kill()
        killed.process.wait()
        time.sleep(0.5)
        assert left.is_alive()

        notes = Notes()
        with LocalStack(folder, parts={"redis", "postgres"}, observer=notes) as stack:
            assert not left.is_alive()
            assert any(f"redis (process {left.pid})" in text for text in notes.warnings)
            assert stack.endpoints.redis_url == load_stack(folder).redis_url
            with redis.Redis.from_url(stack.endpoints.redis_url) as client:
                assert client.ping()

    def test_an_outsider_with_a_leftovers_id_is_spared(self, folder: Path) -> None:
        outsider = subprocess.Popen(["sleep", "60"])
        try:
            with LocalStack(folder, parts={"redis"}):
                pass
            record = read_record(folder / "stack.json")
            part = record.parts["redis"].model_copy(
                update={"process": ProcessIdentity(pid=outsider.pid, started="other boot:1")}
            )
            left = record.model_copy(update={"parts": {"redis": part}})
            (folder / "stack.json").write_text(left.model_dump_json())

            with LocalStack(folder, parts={"redis"}):
                assert outsider.poll() is None
        finally:
            outsider.kill()
            outsider.wait()


class TestServersThatRunAlready:
    def test_named_servers_are_used_and_not_embedded(self, folder: Path) -> None:
        with LocalStack(folder / "a", parts={"postgres", "redis"}) as servers:
            settings = StackSettings.model_validate(
                {
                    "postgres_dsn": servers.endpoints.postgres_admin_dsn,
                    "redis_url": servers.endpoints.redis_url,
                }
            )
            with LocalStack(
                folder / "b", parts={"postgres", "redis"}, schema=True, settings=settings
            ) as stack:
                assert stack.parts == ()
                assert not (folder / "b" / "postgres").exists()
                assert stack.endpoints.redis_url == servers.endpoints.redis_url
                with psycopg.connect(stack.endpoints.postgres_dsn["paycore_owner"]) as connection:
                    found = connection.execute("SELECT count(*) FROM ledger.grants").fetchone()
                    assert found is not None
                    assert found[0] > 0
            assert servers.part_state("postgres") is PartState.READY

    def test_a_named_server_that_does_not_answer_is_named(self, folder: Path) -> None:
        settings = StackSettings.model_validate({"redis_url": "redis://:pw@127.0.0.1:1/0"})
        stack = LocalStack(folder, parts={"redis", "postgres"}, settings=settings)

        with pytest.raises(StackError, match="PAYCORE_STACK_REDIS"):
            stack.start()

        assert read_record(folder / "stack.json").phase is Phase.FAILED


class TestCommandLine:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_stops_everything(
        self, command_line: Callable[..., CommandLine], number: signal.Signals
    ) -> None:
        stack = command_line("up", "--only", "redis", "--only", "postgres")
        processes = processes_of(stack.wait_ready())

        stack.process.send_signal(number)
        shown = stack.output()

        assert stack.process.returncode == 0, shown
        assert "ready after" in shown
        assert not any(process.is_alive() for process in processes)
        assert stack.record().phase is Phase.STOPPED
        assert stack.record().supervisor is None

    def test_a_signal_while_starting_stops_everything(
        self, command_line: Callable[..., CommandLine]
    ) -> None:
        stack = command_line("up", "--only", "redis", "--only", "postgres")
        record = stack.wait_for(lambda record: bool(processes_of(record)))

        stack.process.send_signal(signal.SIGINT)
        began = time.monotonic()
        shown = stack.output()

        assert stack.process.returncode == 0, shown
        assert time.monotonic() - began < 20
        assert not any(process.is_alive() for process in processes_of(record))
        assert processes_of(stack.record()) == []
        assert stack.record().supervisor is None

    def test_a_detached_stack_runs_until_it_is_told_to_stop(
        self, command_line: Callable[..., CommandLine]
    ) -> None:
        detached = command_line("up", "--detach", "--only", "redis")
        shown = detached.output()
        assert detached.process.returncode == 0, shown
        record = detached.record()
        assert record.is_run_by_a_living_process()

        status = command_line("status", "--json")
        told = json.loads(status.output())
        assert status.process.returncode == 0
        assert told["parts"]["redis"]["state"] == "ready"
        assert "endpoints" not in told

        down = command_line("down")
        assert "stopped" in down.output()
        assert not any(process.is_alive() for process in processes_of(record))
        assert not detached.record().is_run_by_a_living_process()

        again = command_line("down")
        again.output()
        assert again.process.returncode == 4

    def test_help_names_the_ways_to_use_it(self) -> None:
        shown = subprocess.run(
            [sys.executable, "-m", "deploy.local", "up", "--help"],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "COLUMNS": "200", "TERM": "dumb"},
        ).stdout
        for word in ("--state", "--processes", "--detach", "--only", "PAYCORE_STACK_POSTGRES_DSN"):
            assert word in shown


@pytest.mark.skipif(os.geteuid() != 0, reason="the whole suite runs as an ordinary user then")
def test_an_ordinary_user_can_run_a_stack(folder: Path) -> None:
    user = run_as("nobody")
    assert user is not None
    folder.mkdir()
    os.chown(folder, user.uid, user.gid)
    argv = [sys.executable, "-m", "deploy.local", "up", "--state", str(folder)]
    argv += ["--only", "redis", "--only", "postgres"]
    launch = Launch(
        argv=argv,
        cwd=CHECKOUT,
        environment={"PYTHONDONTWRITEBYTECODE": "1", "HOME": str(folder)},
        user=user,
        reaches=[Path(sys.executable).resolve(), folder / "stack.json"],
    )
    process = ManagedProcess(launch, folder.parent / "log")
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while read_record(folder / "stack.json").phase is not Phase.READY:
            assert process.wait(0.1) is None, (folder.parent / "log").read_text()
            assert time.monotonic() < deadline
        parts = processes_of(read_record(folder / "stack.json"))
        assert len(parts) == 2
        names = {psutil.Process(part.pid).username() for part in parts}
        assert names == {pwd.getpwuid(user.uid).pw_name}
    finally:
        process.stop(30)
        process.close()
    assert not any(part.is_alive() for part in parts)


def test_no_thread_of_a_stack_is_left(folder: Path) -> None:
    before = set(threading.enumerate())
    with LocalStack(folder, parts={"redis"}):
        pass
    assert set(threading.enumerate()) <= before
