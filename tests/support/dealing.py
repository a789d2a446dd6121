"""How files of tests are dealt out to the processes that run them side by side.

A process takes whole files, the longest first: then both end at about the same time.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from xdist.scheduler import LoadScopeScheduling

ORDER = ("unit", "integration", "contract", "soak", "crash")
"""Folders of tests in the order in which they run: what disturbs the stack comes after everything
that needs it calm."""

OUTAGES = "test_outages.py"
"""Wherever they lie, such files stop parts of the stack, and so run with the last folder."""

TOGETHER = (
    "tests/integration/analytics",
    "tests/integration/query_service/readers",
)
"""Folders whose files share what takes long to make: one process runs all of such a folder."""

LONGEST = (
    "tests/unit/teeth/test_runner.py",
    "tests/unit/signing_service/keystore/test_encrypted_file.py",
    "tests/unit/runtime/test_logs.py",
    "tests/unit/deploy/local/test_runner.py",
    "tests/unit/runtime/limits/test_shared.py",
    "tests/integration/operations/test_demo.py",
    "tests/integration/test_local_stack.py",
    "tests/integration/analytics",
    "tests/integration/query_service/readers",
    "tests/integration/operations/test_verify.py",
    "tests/integration/signing/test_service.py",
    "tests/integration/command_service/test_engine.py",
    "tests/integration/command_service/test_programs.py",
    "tests/integration/database/test_query_plans.py",
    "tests/integration/signing/test_mutations.py",
    "tests/integration/projector/test_rebuild.py",
    "tests/integration/projector/test_stream.py",
    "tests/contract/test_redis_away.py",
    "tests/contract/test_changed_limits.py",
    "tests/contract/test_bad_input.py",
    "tests/contract/test_watching.py",
    "tests/contract/test_programs.py",
    "tests/crash/test_faults.py",
    "tests/crash/test_outages.py",
    "tests/crash/test_stepped_clock.py",
    "tests/crash/test_fuzz.py",
    "tests/crash/test_disk_full.py",
    "tests/crash/test_own_writes.py",
    "tests/crash/test_projector.py",
    "tests/crash/query_service/test_outages.py",
    "tests/crash/test_rolling_restart.py",
    "tests/crash/test_many_at_once.py",
)
"""What takes longest of each folder, the longest first. `make test ARGS=--durations=100` tells."""


def share_of(file: str) -> str:
    """What is dealt out whole together with `file`, a path below the checkout."""
    for folder in TOGETHER:
        if file.startswith(f"{folder}/") and PurePosixPath(file).name != OUTAGES:
            return folder
    return file


def place(file: str) -> tuple[int, int]:
    """Sorts files by when they run, in one process or in several."""
    path = PurePosixPath(file)
    folder = "crash" if path.name == OUTAGES else path.parts[1]
    share = share_of(file)
    return (
        ORDER.index(folder) if folder in ORDER else len(ORDER),
        LONGEST.index(share) if share in LONGEST else len(LONGEST),
    )


class Dealer(LoadScopeScheduling):  # type: ignore[misc]  # xdist tells no types
    """Gives a process that has almost nothing left the next share in the order of the tests."""

    def _split_scope(self, nodeid: str) -> str:
        return share_of(nodeid.partition("::")[0])
