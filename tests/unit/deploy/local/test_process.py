"""A part's process: tied to its supervisor, ended with all it started, fed no foreign settings."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.local.identity import ProcessIdentity, wait_gone
from deploy.local.process import (
    Launch,
    ManagedProcess,
    child_environment,
    run_once,
    stop_leftover,
)

IGNORES_TERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    " print('on', flush=True); time.sleep(60)"
)
STARTS_A_CHILD = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(child.pid, flush=True)\n"
    "time.sleep(60)\n"
)


def python(script: str, folder: Path, **more: object) -> Launch:
    return Launch(argv=[sys.executable, "-c", script], cwd=folder, **more)  # type: ignore[arg-type]


def wait_for_line(log: Path) -> str:
    deadline = time.monotonic() + 10
    while not log.exists() or "\n" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return log.read_text().splitlines()[0]


def identity_of(pid: int) -> ProcessIdentity:
    identity = ProcessIdentity.of(pid)
    assert identity is not None
    return identity


def test_exit_codes_and_output_are_kept(folder: Path) -> None:
    log = folder / "log"

    assert run_once(python("print('hello'); raise SystemExit(7)", folder), log, 10) == 7
    assert log.read_text() == "hello\n"
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_program_that_takes_too_long_is_killed(folder: Path) -> None:
    began = time.monotonic()

    assert run_once(python("import time; time.sleep(60)", folder), folder / "log", 0.3) is None
    assert time.monotonic() - began < 5


def test_standard_input_is_handed_over(folder: Path) -> None:
    launch = python("import sys; print(sys.stdin.read())", folder, standard_input=b"secret")

    run_once(launch, folder / "log", 10)

    assert (folder / "log").read_text() == "secret\n"


def test_a_part_that_steps_back_has_the_smaller_claim_on_the_cores(folder: Path) -> None:
    script = "import os; print(os.getpriority(os.PRIO_PROCESS, 0))"
    own = os.getpriority(os.PRIO_PROCESS, 0)

    run_once(python(script, folder), folder / "first", 10)
    run_once(python(script, folder, niceness=5), folder / "second", 10)

    assert (folder / "first").read_text() == f"{own}\n"
    assert (folder / "second").read_text() == f"{min(19, own + 5)}\n"


def test_the_process_keeps_its_id_through_the_launcher_and_leads_its_session(folder: Path) -> None:
    script = "import os; print(os.getpid(), os.getsid(0), os.getcwd(), oct(os.umask(0)))"
    process = ManagedProcess(python(script, folder), folder / "log")
    try:
        assert process.wait(10) == 0
        pid, session, place, mask = (folder / "log").read_text().split()
        assert int(pid) == int(session) == process.pid
        assert Path(place) == folder.resolve()
        assert mask == "0o77"
    finally:
        process.close()


def test_stopping_lets_it_end_in_order(folder: Path) -> None:
    script = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        "print('on', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = ManagedProcess(python(script, folder), folder / "log")
    wait_for_line(folder / "log")

    process.stop(grace_s=10)

    assert process.wait(0) == 0
    process.close()


def test_stopping_kills_after_the_grace(folder: Path) -> None:
    process = ManagedProcess(python(IGNORES_TERM, folder), folder / "log")
    wait_for_line(folder / "log")

    process.stop(grace_s=0.2)

    assert process.wait(0) == -signal.SIGKILL
    process.close()


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_what_it_started_ends_with_it(folder: Path, way: str) -> None:
    process = ManagedProcess(python(STARTS_A_CHILD, folder), folder / "log")
    child = identity_of(int(wait_for_line(folder / "log")))
    assert process.pids() == (process.pid, child.pid)

    if way == "stop":
        process.stop(grace_s=5)
    else:
        process.kill()

    assert not child.is_alive()
    process.close()


def test_a_wait_ends_when_it_is_woken(folder: Path) -> None:
    process = ManagedProcess(python("import time; time.sleep(60)", folder), folder / "log")
    wake = os.eventfd(1)
    try:
        assert process.wait(30, wake) is None
    finally:
        os.close(wake)
        process.kill()
        process.close()


def test_it_ends_when_its_supervisor_is_killed(folder: Path) -> None:
    supervisor = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from deploy.local.process import Launch, ManagedProcess\n"
        f"folder = Path({str(folder)!r})\n"
        "argv = [sys.executable, '-c', 'import time; time.sleep(60)']\n"
        "print(ManagedProcess(Launch(argv=argv, cwd=folder), folder / 'log').pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", supervisor], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    part = identity_of(int(parent.stdout.readline()))

    parent.kill()
    parent.wait()
    parent.stdout.close()

    assert wait_gone([part], 10) == []


def test_a_leftover_is_stopped_with_its_family_even_when_suspended(folder: Path) -> None:
    process = ManagedProcess(python(STARTS_A_CHILD, folder), folder / "log")
    child = identity_of(int(wait_for_line(folder / "log")))
    process.signal(signal.SIGSTOP)

    assert stop_leftover(process.identity, signal.SIGTERM, grace_s=10)

    assert not process.identity.is_alive()
    assert not child.is_alive()
    process.close()


def test_orphans_of_a_leftover_that_is_gone_are_stopped(folder: Path) -> None:
    process = ManagedProcess(python(STARTS_A_CHILD, folder), folder / "log")
    child = identity_of(int(wait_for_line(folder / "log")))
    process.signal(signal.SIGKILL)
    process.wait()
    process.close()
    assert child.is_alive()

    assert stop_leftover(process.identity, signal.SIGTERM, grace_s=10)

    assert not child.is_alive()


def test_an_unrelated_process_with_a_leftovers_id_is_spared(folder: Path) -> None:
    process = ManagedProcess(python("import time; time.sleep(60)", folder), folder / "log")
    namesake = ProcessIdentity(pid=process.pid, started="another boot:1")

    assert not stop_leftover(namesake, signal.SIGTERM, grace_s=1)

    assert process.wait(0.1) is None
    process.kill()
    process.close()


def test_only_named_variables_are_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYCORE_COMMAND_POSTGRES_DSN", "of somebody else")
    monkeypatch.setenv("PATH", "/bin")

    environment = child_environment({"OWN": "1"})

    assert environment["OWN"] == "1"
    assert environment["PATH"] == "/bin"
    assert "PAYCORE_COMMAND_POSTGRES_DSN" not in environment


def test_a_large_log_is_set_aside(folder: Path) -> None:
    log = folder / "part.log"
    with log.open("wb") as file:
        file.truncate(17 * 1024 * 1024)

    run_once(python("print('new')", folder), log, 10)

    assert log.read_text() == "new\n"
    assert (folder / "part.log.1").stat().st_size == 17 * 1024 * 1024
