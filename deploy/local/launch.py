"""Run as a script between the supervisor and a part: ties the part to it, drops root, execs.

It is a process of its own because this work would be unsafe between fork and exec in a
supervisor with threads. It keeps its process id through the exec. Standard library only, and
no import of ours: it runs isolated from the environment's packages.

Its one argument is JSON: argv, cwd, death_signal, parent, niceness, and for parts that must not
run as root uid, gid and the capability to keep, if any.
"""

import ctypes
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28
SECBIT_NO_SETUID_FIXUP = 1 << 2
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def main() -> None:
    """Become the part. Does not return."""
    order: dict[str, Any] = json.loads(sys.argv[1])
    # What is ignored stays so over an exec: Python ignores the first two, a shell SIGINT in
    # background jobs. And a handler of Python's could lose a signal to stop by the exec.
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o077)
    os.chdir(order["cwd"])
    if order["niceness"]:
        _step_back(order["niceness"])
    if order["uid"] is not None:
        _become(order["uid"], order["gid"], order["capability"])
    # After the change of user, which would clear it again.
    _prctl(PR_SET_PDEATHSIG, order["death_signal"])
    if os.getppid() != order["parent"]:
        sys.exit("the supervisor died before the part began")
    os.execv(order["argv"][0], order["argv"])  # noqa: S606 - the supervisor's own argv, no shell


def _step_back(niceness: int) -> None:
    os.nice(niceness)
    # Where the kernel shares the cores out by session first, niceness counts within one only, and
    # the session has its own. Some kernels have no such file, some containers keep it read-only:
    # then the part has an equal share.
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(niceness))


def _become(uid: int, gid: int, capability: int | None) -> None:
    if capability is not None:
        # Without it the kernel drops capabilities at the change of user, and later again for
        # every access(2) of another user than root, by which Java asks whether a file exists.
        _prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if capability is not None:
        _keep_only(capability)


def _keep_only(capability: int) -> None:
    """Keep one capability over the exec, as ambient, and drop all others."""
    header = _CapabilityHeader(CAPABILITY_VERSION_3, 0)
    data = (_CapabilityData * 2)()
    bit = 1 << (capability % 32)
    data[capability // 32] = _CapabilityData(bit, bit, bit)
    if _libc.capset(ctypes.byref(header), data) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)


def _prctl(option: int, *arguments: int) -> None:
    padded = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    if _libc.prctl(option, *padded) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


if __name__ == "__main__":
    main()
