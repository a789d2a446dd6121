"""Running the stores without root's rights.

PostgreSQL and Elasticsearch refuse to run as root, so a stack started by root runs its stores
as an unprivileged user that owns their folders. Where a folder above them is closed to that
user (a checkout in root's home, a temporary folder of a test), the modes of folders that are
not ours stay untouched: the store is given the capability to search folders instead.
"""

import grp
import os
import pwd
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deploy.local.errors import PrivilegeError

CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
PROCESS_STATUS = Path("/proc/self/status")
SEARCH_BY_OTHERS = 0o001
SEARCH_BY_GROUP = 0o010
SEARCH_BY_OWNER = 0o100


@dataclass(frozen=True, slots=True)
class RunAs:
    """The user a store runs as."""

    name: str
    uid: int
    gid: int


def run_as(user: str) -> RunAs | None:
    """Return the user for the stores, or None where the stack is not started by root.

    Raises PrivilegeError where root has no such user to drop to.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(user)
    except KeyError as error:
        raise PrivilegeError(
            f"the stores cannot run as root and there is no user {user!r}:"
            " name an unprivileged one in PAYCORE_STACK_RUN_AS"
        ) from error
    if entry.pw_uid == 0:
        raise PrivilegeError(f"the stores cannot run as root, and {user!r} is root")
    return RunAs(entry.pw_name, entry.pw_uid, entry.pw_gid)


def own(path: Path, user: RunAs | None) -> None:
    """Give a file or a folder, not what is in it, to the user the store runs as."""
    if user is not None:
        os.chown(path, user.uid, user.gid)


def capability_needed(user: RunAs, paths: Iterable[Path]) -> int | None:
    """Return the capability that lets `user` reach `paths`, or None where none is needed.

    Raises PrivilegeError where one is needed and this process may not give any.
    """
    closed = next((path for path in paths if not _reaches(user, path)), None)
    if closed is None:
        return None
    held = _bounding_set()
    # The first is the weaker one; common containers grant only the second.
    for capability in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE):
        if held >> capability & 1:
            return capability
    raise PrivilegeError(
        f"user {user.name!r} cannot reach {closed}: open the folders above it (chmod o+x),"
        " or choose a state folder elsewhere with --state"
    )


def _reaches(user: RunAs, path: Path) -> bool:
    groups = {user.gid, *(entry.gr_gid for entry in grp.getgrall() if user.name in entry.gr_mem)}
    for folder in path.resolve().parents:
        status = folder.stat()
        if status.st_uid == user.uid:
            needed = SEARCH_BY_OWNER
        elif status.st_gid in groups:
            needed = SEARCH_BY_GROUP
        else:
            needed = SEARCH_BY_OTHERS
        if not status.st_mode & needed:
            return False
    return True


def _bounding_set() -> int:
    for line in PROCESS_STATUS.read_text().splitlines():
        if line.startswith("CapPrm:"):
            return int(line.split()[1], 16)
    return 0
