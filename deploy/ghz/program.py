"""The program ghz: where it is, how it is run, what it reports."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LONGEST_RUN_S = 600.0


class GhzError(Exception):
    """ghz did not run to its end."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What ghz says of a run."""

    codes: Mapping[str, int]
    """Calls by gRPC's status."""
    errors: Mapping[str, int]
    rate: float
    """Calls per second."""
    latencies_ms: Mapping[int, float]
    """By percentile."""

    @property
    def calls(self) -> int:
        return sum(self.codes.values())

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> Outcome:
        """Of ghz's JSON report, whose times are in nanoseconds."""
        return cls(
            dict(report["statusCodeDistribution"]),
            dict(report.get("errorDistribution") or {}),
            float(report["rps"]),
            {
                one["percentage"]: one["latency"] / 1e6
                for one in report.get("latencyDistribution") or ()
            },
        )


def find_ghz() -> Path | None:
    """ghz in PATH, or where `go install` puts it."""
    found = shutil.which("ghz")
    if found is not None:
        return Path(found)
    go = shutil.which("go")
    if go is None:
        return None
    reply = subprocess.run(  # noqa: S603  # the go of this machine
        [go, "env", "GOPATH"], capture_output=True, text=True, check=False
    )
    installed = Path(reply.stdout.strip() or os.devnull) / "bin" / "ghz"
    return installed if installed.is_file() else None


async def run_ghz(program: Path, *arguments: str, within_s: float = LONGEST_RUN_S) -> Outcome:
    """Run it to its end. Raises GhzError where it fails, and TimeoutError."""
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        "--format=json",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(within_s):
            output, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise GhzError(f"ghz ended with {process.returncode}: {complaint.decode()[-500:]}")
    return Outcome.of(json.loads(output))
