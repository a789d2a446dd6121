"""A process is known by id and start, and only exactly that one is ever signalled."""

import os
import signal
import subprocess
import sys
import time

from deploy.local.identity import ProcessIdentity, family, wait_gone

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_this_process_is_alive_and_its_namesake_is_not() -> None:
    own = ProcessIdentity.own()

    assert own.pid == os.getpid()
    assert own.is_alive()
    assert not ProcessIdentity(pid=own.pid, started="another boot:1").is_alive()


def test_a_signal_misses_a_process_with_the_same_id_but_another_start() -> None:
    child = subprocess.Popen(SLEEP)
    try:
        ProcessIdentity(pid=child.pid, started="another boot:1").send(signal.SIGKILL)
        time.sleep(0.1)
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_a_process_that_ended_but_was_not_waited_for_is_gone() -> None:
    child = subprocess.Popen(SLEEP)
    identity = ProcessIdentity.of(child.pid)
    assert identity is not None
    try:
        identity.send(signal.SIGKILL)
        assert wait_gone([identity], 5) == []
        assert not identity.is_alive()
    finally:
        child.wait()


def test_signalling_a_process_that_is_gone_does_nothing() -> None:
    child = subprocess.Popen(SLEEP)
    identity = ProcessIdentity.of(child.pid)
    assert identity is not None
    child.kill()
    child.wait()

    identity.send(signal.SIGTERM)

    assert ProcessIdentity.of(child.pid) is None


def test_waiting_is_bounded_and_tells_who_still_lives() -> None:
    own = ProcessIdentity.own()

    assert wait_gone([own], 0.1) == [own]


def test_a_family_is_found_across_sessions_and_after_its_head_ended() -> None:
    script = (
        "import subprocess, sys, time\n"
        "sleep = [sys.executable, '-c', 'import time; time.sleep(60)']\n"
        "a = subprocess.Popen(sleep)\n"
        "b = subprocess.Popen(sleep, start_new_session=True)\n"
        "print(a.pid, b.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    head = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert head.stdout is not None
    same_session, own_session = map(int, head.stdout.readline().split())
    members = family(head.pid)
    try:
        assert {member.pid for member in members} == {same_session, own_session}
        head.kill()
        head.wait()
        assert [member.pid for member in family(head.pid)] == [same_session]
    finally:
        for member in members:
            member.send(signal.SIGKILL)
        assert wait_gone(members, 5) == []
        head.stdout.close()
