"""A supervised part: restarted with backoff and counted, left down when told so."""

import sys
import threading
import time
from pathlib import Path

import pytest

from deploy.local.errors import PartStartError, StartCancelledError
from deploy.local.events import PartState
from deploy.local.identity import ProcessIdentity
from deploy.local.part import NotReadyError, Preparation
from deploy.local.process import Launch
from deploy.local.runner import FIRST_BACKOFF_S, PartRunner


class ScriptPart:
    """A real process that says it is ready by a file, and notes each of its starts."""

    name = "script"
    start_timeout_s = 5.0
    stop_grace_s = 5.0

    def __init__(self, folder: Path, script: str) -> None:
        self._folder = folder
        self._script = script
        self.prepared = 0

    def prepare(self, preparation: Preparation) -> None:
        self.prepared += 1
        (self._folder / "ready").unlink(missing_ok=True)

    def launch(self) -> Launch:
        return Launch(argv=[sys.executable, "-c", self._script], cwd=self._folder)

    def probe(self) -> None:
        if not (self._folder / "ready").exists():
            raise NotReadyError("the file is not there")


class Notes:
    """Keeps what a runner reports."""

    def __init__(self) -> None:
        self.states: list[PartState] = []
        self.warnings: list[str] = []
        self.records: list[tuple[ProcessIdentity | None, PartState, int]] = []

    def state(self, part: str, state: PartState, detail: str) -> None:
        self.states.append(state)

    def progress(self, part: str, what: str, done: int, total: int) -> None: ...

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def record(
        self, name: str, process: ProcessIdentity | None, state: PartState, restarts: int
    ) -> None:
        self.records.append((process, state, restarts))


BECOMES_READY = "import time; open('ready', 'w').close(); time.sleep(60)"


def state_of(runner: PartRunner) -> PartState:
    # Read through a function, or the type checker takes the state for unchanging.
    return runner.state


@pytest.fixture
def notes() -> Notes:
    return Notes()


def runner_of(part: ScriptPart, folder: Path, notes: Notes) -> PartRunner:
    return PartRunner(part, folder / "log", notes, notes.record)


def test_a_start_returns_when_the_part_is_ready(folder: Path, notes: Notes) -> None:
    runner = runner_of(ScriptPart(folder, BECOMES_READY), folder, notes)
    try:
        runner.start()
        assert state_of(runner) is PartState.READY
        assert (folder / "ready").exists()
        assert notes.states == [PartState.PREPARING, PartState.STARTING, PartState.READY]
        process, state, restarts = notes.records[-1]
        assert process is not None
        assert process.is_alive()
        assert (state, restarts) == (PartState.READY, 0)
    finally:
        runner.stop()
    assert state_of(runner) is PartState.STOPPED
    assert runner.pids() == ()
    assert notes.records[-1] == (None, PartState.STOPPED, 0)


def test_starting_twice_starts_once(folder: Path, notes: Notes) -> None:
    part = ScriptPart(folder, BECOMES_READY)
    runner = runner_of(part, folder, notes)
    try:
        runner.start()
        first = runner.pids()
        runner.start()
        assert runner.pids() == first
        assert part.prepared == 1
    finally:
        runner.stop()


def test_a_part_that_dies_is_restarted_loudly_and_counted(folder: Path, notes: Notes) -> None:
    runner = runner_of(ScriptPart(folder, BECOMES_READY), folder, notes)
    try:
        runner.start()
        first = runner.pids()[0]
        began = time.monotonic()
        runner.crash()
        assert runner.wait_ready(10)
        assert time.monotonic() - began >= FIRST_BACKOFF_S
        assert runner.pids()[0] != first
        assert runner.restarts == 1
        assert len(notes.warnings) == 1
        assert "script died" in notes.warnings[0]
    finally:
        runner.stop()


def test_the_backoff_grows_while_it_keeps_dying(folder: Path, notes: Notes) -> None:
    script = "import time; open('ready', 'w').close(); time.sleep(0.5)"
    runner = runner_of(ScriptPart(folder, script), folder, notes)
    began = time.monotonic()
    runner.start()
    while runner.restarts < 3 and time.monotonic() - began < 20:
        time.sleep(0.05)
    runner.stop()

    assert time.monotonic() - began >= FIRST_BACKOFF_S * (1 + 2)
    assert [text.partition(" in ")[2].split(" (")[0] for text in notes.warnings[:3]] == [
        "0.5 s",
        "1 s",
        "2 s",
    ]


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_a_part_ended_on_purpose_stays_down(folder: Path, notes: Notes, way: str) -> None:
    runner = runner_of(ScriptPart(folder, BECOMES_READY), folder, notes)
    runner.start()

    getattr(runner, way)()
    time.sleep(FIRST_BACKOFF_S * 2)

    assert state_of(runner) is PartState.STOPPED
    assert runner.restarts == 0
    assert notes.warnings == []

    runner.start()
    assert state_of(runner) is PartState.READY
    runner.stop()


def test_a_part_that_ends_at_its_first_start_fails_with_its_log(folder: Path, notes: Notes) -> None:
    script = "raise SystemExit('the reason it gave')"
    runner = runner_of(ScriptPart(folder, script), folder, notes)

    with pytest.raises(PartStartError, match="ended with code 1") as caught:
        runner.start()

    assert "the reason it gave" in str(caught.value)
    assert state_of(runner) is PartState.FAILED
    assert runner.restarts == 0


def test_a_part_that_is_never_ready_is_ended(folder: Path, notes: Notes) -> None:
    part = ScriptPart(folder, "import time; time.sleep(60)")
    part.start_timeout_s = 0.5
    runner = runner_of(part, folder, notes)

    with pytest.raises(PartStartError, match=r"not ready after 0\.5 s: the file is not there"):
        runner.start()

    process = next(process for process, state, _ in notes.records if state is PartState.STARTING)
    assert process is not None
    assert not process.is_alive()


def test_stopping_cancels_a_start(folder: Path, notes: Notes) -> None:
    part = ScriptPart(folder, "import time; time.sleep(60)")
    part.start_timeout_s = 60
    runner = runner_of(part, folder, notes)
    failure: list[Exception] = []

    def start() -> None:
        try:
            runner.start()
        except StartCancelledError as error:
            failure.append(error)

    starter = threading.Thread(target=start)
    starter.start()
    while not runner.pids():
        time.sleep(0.02)
    runner.stop()
    starter.join(5)

    assert len(failure) == 1
    assert state_of(runner) is PartState.STOPPED
    assert runner.pids() == ()


def test_stopping_ends_the_wait_before_a_restart(folder: Path, notes: Notes) -> None:
    runner = runner_of(ScriptPart(folder, BECOMES_READY), folder, notes)
    runner.start()
    runner.crash()

    runner.stop()

    assert state_of(runner) is PartState.STOPPED
    time.sleep(FIRST_BACKOFF_S * 2)
    assert runner.pids() == ()
