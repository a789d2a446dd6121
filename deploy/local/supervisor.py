"""The supervisor: starts the parts of a stack in order, keeps them up, stops them all."""

import datetime
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.local import elasticsearch, postgres, redis, replica
from deploy.local.cache import cache_folder
from deploy.local.certificates import ensure_certificates
from deploy.local.claim import claim
from deploy.local.endpoints import Endpoints
from deploy.local.errors import StackError, UnknownPartError
from deploy.local.events import LogObserver, Observer, PartState
from deploy.local.files import private_folder
from deploy.local.identity import ProcessIdentity
from deploy.local.layout import SERVICES, Layout, lay_out
from deploy.local.part import NotReadyError, Part
from deploy.local.ports import PortClaims
from deploy.local.privileges import run_as
from deploy.local.record import PartRecord, Phase, StackFile, StackRecord, endpoints_record
from deploy.local.runner import PartRunner
from deploy.local.schema import prepare_database
from deploy.local.services import Service, service_environment
from deploy.local.settings import StackSettings
from deploy.local.starting import run_steps
from deploy.local.state import Secrets, StateFolder, ensure_secrets

STORES = frozenset({"postgres", "redis", "elasticsearch"})
ALL_PARTS = STORES | frozenset(SERVICES)
REPLICA = "replica"
"""Runs only where it is asked for; the query service then reads from it."""
KNOWN_PARTS = ALL_PARTS | {REPLICA}
SCHEMA = "schema"

# A step begins when those before it are done. Elasticsearch, the slowest, needs nothing.
NEEDS: Mapping[str, tuple[str, ...]] = {
    "elasticsearch": (),
    "postgres": (),
    "redis": (),
    REPLICA: ("postgres",),
    SCHEMA: ("postgres",),
    "signing": (SCHEMA,),
    "command": (SCHEMA, "redis", "signing"),
    "projector": (SCHEMA, "elasticsearch", "redis", "signing"),
    "query": (SCHEMA, "elasticsearch", REPLICA),
}

# Callers go before those they call.
STOP_ORDER = (("query", "projector", "command"), ("signing",), (REPLICA,), tuple(sorted(STORES)))

EXTERNAL_ATTEMPTS = 5
EXTERNAL_PAUSE_S = 1.0

Changes = Mapping[str, Mapping[str, str]]
"""Settings of services, by service, named without their prefix."""


class LocalStack:
    """A stack in a state folder, run by this process.

    All methods block and may be called from any thread; from an event loop use
    `asyncio.to_thread`. The parts end with this process, however it ends.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        processes: int = 2,
        parts: Collection[str] = ALL_PARTS,
        schema: bool | None = None,
        changes: Changes | Callable[[Endpoints], Changes] | None = None,
        settings: StackSettings | None = None,
        observer: Observer | None = None,
    ) -> None:
        """Describe a stack; nothing happens before `start`.

        `parts` are those to run. `schema` says whether the database `paycore` is brought up;
        by default it is where a service runs. `changes` are settings of services, or what gives
        them once the addresses of the stores are known: it is called on the thread of `start`.
        Raises UnknownPartError for a part that does not exist.
        """
        for name in parts:
            if name not in KNOWN_PARTS:
                raise UnknownPartError(name, tuple(sorted(KNOWN_PARTS)))
        if processes < 1:
            raise ValueError("processes must be at least 1")
        self._state = StateFolder(state_dir.resolve())
        self._processes = processes
        self._parts = frozenset(parts)
        self._with_schema = bool(self._parts - STORES - {REPLICA}) if schema is None else schema
        self._changes = changes or {}
        self._changed: Changes = {}
        self._settings = settings or StackSettings()
        self._observer = observer or LogObserver()
        self._lifecycle = threading.Lock()
        self._claims = PortClaims()
        self._runners: dict[str, PartRunner] = {}
        self._roles: dict[str, str] = {}
        self._file: StackFile | None = None
        self._endpoints: Endpoints | None = None

    @property
    def endpoints(self) -> Endpoints:
        """Where everything is reached. Raises StackError before the first start."""
        if self._endpoints is None:
            raise StackError("the stack was not started")
        return self._endpoints

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts that this stack runs itself."""
        return tuple(self._runners)

    def start(self) -> Endpoints:
        """Start all parts and return when all are ready.

        Raises StateInUseError where a living process runs a stack in the same folder, and
        another StackError where a part cannot start: everything is stopped again then.
        """
        with self._lifecycle:
            if self._file is not None:
                return self.endpoints
            self._file = claim(self._state, self._observer.warning)
            try:
                self._build(self._file)
                self._run_steps()
                self._set_phase(Phase.READY)
            except BaseException as error:
                # Interrupts too: a half-started stack must not stay.
                self._shut_down(Phase.FAILED, str(error) or type(error).__name__)
                raise
            return self.endpoints

    def stop(self) -> None:
        """Stop all parts in order, callers first. Nothing happens where nothing runs."""
        with self._lifecycle:
            if self._file is not None:
                self._set_phase(Phase.STOPPING)
                self._shut_down(Phase.STOPPED, None)

    def start_part(self, name: str) -> None:
        """Start a part that was stopped or killed; returns when it is ready."""
        self._runner(name).start()

    def stop_part(self, name: str) -> None:
        """Stop a part in order; it stays down until it is started again."""
        self._runner(name).stop()

    def kill_part(self, name: str) -> None:
        """Kill a part and all its processes (SIGKILL); it stays down until started again."""
        self._runner(name).kill()

    def crash_part(self, name: str) -> None:
        """Kill a part as if it had died: it is restarted and counted. See `wait_part`."""
        self._runner(name).crash()

    def restart_part(self, name: str) -> None:
        """Stop a part in order and start it; returns when it is ready."""
        runner = self._runner(name)
        runner.stop()
        runner.start()

    def wait_part(self, name: str, timeout_s: float = 60.0) -> None:
        """Wait until a part is ready, for instance after it died.

        Raises StackError when that takes longer than `timeout_s`.
        """
        if not self._runner(name).wait_ready(timeout_s):
            raise StackError(f"{name} was not ready within {timeout_s:g} s")

    def part_state(self, name: str) -> PartState:
        return self._runner(name).state

    def part_restarts(self, name: str) -> int:
        """How often a part died and was started again without being told to."""
        return self._runner(name).restarts

    def part_pids(self, name: str) -> tuple[int, ...]:
        """Process ids of a part, its main process first; empty while it is down."""
        return self._runner(name).pids()

    def part_log(self, name: str) -> Path:
        return self._state.log(self._runner(name).name)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _runner(self, name: str) -> PartRunner:
        runner = self._runners.get(name)
        if runner is None:
            raise UnknownPartError(name, self.parts)
        return runner

    def _build(self, file: StackFile) -> None:
        secrets = ensure_secrets(self._state)
        self._roles = secrets.roles
        ensure_certificates(self._state.tls, datetime.datetime.now(datetime.UTC))
        earlier = file.record.ports
        layout = lay_out(
            self._state,
            secrets,
            self._settings,
            self._claims,
            earlier,
            self._processes,
            replica=REPLICA in self._parts,
        )
        self._endpoints = layout.endpoints
        file.update(
            lambda record: record.model_copy(
                update={
                    "ports": dict(layout.ports),
                    "endpoints": endpoints_record(layout.endpoints),
                    "parts": {},
                }
            )
        )
        changes = self._changes
        self._changed = changes(layout.endpoints) if callable(changes) else changes
        stores = self._stores(layout, secrets)
        services = [self._service(name, layout) for name in SERVICES if name in self._parts]
        self._runners = {
            part.name: PartRunner(
                part, self._state.log(part.name), self._observer, self._record_part
            )
            for part in (*stores, *services)
        }

    def _stores(self, layout: Layout, secrets: Secrets) -> list[Part]:
        """Return the stores that are embedded: those wanted and not named in the settings."""
        user = run_as(self._settings.run_as)
        folder = self._state.part
        found: list[Part] = []
        if "elasticsearch" in self._parts and self._settings.elasticsearch_url is None:
            found.append(
                elasticsearch.Elasticsearch(
                    folder("elasticsearch"),
                    cache_folder(self._settings),
                    self._settings.maven_mirror,
                    layout.port("elasticsearch"),
                    layout.port("elasticsearch-transport"),
                    secrets.elasticsearch,
                    user,
                    self._settings.read_side_niceness,
                )
            )
        if "postgres" in self._parts and self._settings.postgres_dsn is None:
            found.append(
                postgres.Postgres(
                    folder("postgres"), layout.port("postgres"), secrets.postgres_admin, user
                )
            )
        if REPLICA in self._parts:
            if self._settings.postgres_dsn is not None:
                raise StackError("a replica is made of the embedded PostgreSQL only")
            found.append(
                replica.Replica(
                    folder(REPLICA),
                    layout.port(REPLICA),
                    layout.port("postgres"),
                    secrets.postgres_admin,
                    user,
                )
            )
        if "redis" in self._parts and self._settings.redis_url is None:
            found.append(
                redis.Redis(
                    folder("redis"),
                    layout.port("redis"),
                    secrets.redis,
                    secrets.redis_users,
                    user,
                )
            )
        return found

    def _service(self, name: str, layout: Layout) -> Part:
        return Service(
            name=name,
            target=layout.endpoints.target(name),
            endpoints=layout.endpoints,
            environment=service_environment(
                name,
                self._state,
                layout.endpoints,
                self._processes,
                layout.metrics_listen(name),
                self._changed.get(name, {}),
                with_redis="redis" in self._parts,
            ),
            folder=private_folder(self._state.part(name)),
            niceness=self._settings.read_side_niceness if name == "projector" else 0,
        )

    def _steps(self) -> dict[str, Callable[[], None]]:
        """Return what is to be done, by name, in an order in which needs come first."""
        steps: dict[str, Callable[[], None]] = {}
        for name in NEEDS:
            if name in self._runners:
                steps[name] = self._runners[name].start
            elif name in self._parts:
                steps[name] = partial(self._await_external, name)
            elif name == SCHEMA and self._with_schema:
                steps[name] = self._prepare_database
        return steps

    def _run_steps(self) -> None:
        steps = self._steps()
        for name in steps:
            self._observer.state(name, PartState.WAITING, "")
        run_steps(steps, NEEDS, self._stop_runners)

    def _await_external(self, name: str) -> None:
        """Make sure that a server named in the settings answers, in a bounded number of tries."""
        found = self.endpoints
        pings: dict[str, Callable[[], None]] = {
            "postgres": partial(postgres.ping, found.postgres_admin_dsn),
            "redis": partial(redis.ping, found.redis_url),
            "elasticsearch": partial(
                elasticsearch.ping,
                found.elasticsearch_url,
                found.elasticsearch_user,
                found.elasticsearch_password,
            ),
        }
        self._observer.state(name, PartState.STARTING, "runs elsewhere")
        for attempt in range(1, EXTERNAL_ATTEMPTS + 1):
            try:
                pings[name]()
            except NotReadyError as error:
                if attempt == EXTERNAL_ATTEMPTS:
                    self._observer.state(name, PartState.FAILED, "")
                    raise StackError(
                        f"the {name} server named in PAYCORE_STACK_{name.upper()}_*"
                        f" does not answer: {error}"
                    ) from error
                time.sleep(EXTERNAL_PAUSE_S)
            else:
                self._observer.state(name, PartState.READY, "runs elsewhere")
                return

    def _prepare_database(self) -> None:
        began = time.monotonic()
        self._observer.state(SCHEMA, PartState.STARTING, "migrating")
        try:
            prepare_database(self.endpoints, self._roles)
        except BaseException:
            self._observer.state(SCHEMA, PartState.FAILED, "")
            raise
        self._observer.state(SCHEMA, PartState.READY, f"after {time.monotonic() - began:.1f} s")

    def _stop_runners(self) -> None:
        for wave in STOP_ORDER:
            runners = [self._runners[name] for name in wave if name in self._runners]
            if runners:
                with ThreadPoolExecutor(len(runners), thread_name_prefix="stack-stop") as pool:
                    for future in [pool.submit(runner.stop) for runner in runners]:
                        future.result()

    def _shut_down(self, phase: Phase, failure: str | None) -> None:
        self._stop_runners()
        self._claims.release()
        if self._file is not None:
            self._file.update(
                lambda record: record.model_copy(
                    update={"phase": phase, "failure": failure, "supervisor": None}
                )
            )
        self._file = None

    def _set_phase(self, phase: Phase) -> None:
        assert self._file is not None
        self._file.update(lambda record: record.model_copy(update={"phase": phase}))

    def _record_part(
        self, name: str, process: ProcessIdentity | None, state: PartState, restarts: int
    ) -> None:
        part = PartRecord(
            state=state, restarts=restarts, process=process, log=self._state.log(name)
        )

        def change(record: StackRecord) -> StackRecord:
            return record.model_copy(update={"parts": {**record.parts, name: part}})

        if self._file is not None:
            self._file.update(change)
