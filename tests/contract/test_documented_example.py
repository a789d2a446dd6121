"""The first payment of the documentation does what it says, as a newcomer would run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from deploy.local import Endpoints, LocalStack

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "first_payment.py"


def test_the_first_payment_runs_as_written(services: LocalStack, endpoints: Endpoints) -> None:
    run = subprocess.run(
        [sys.executable, str(EXAMPLE), str(endpoints.state)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (
        0,
        "alice has 3750 cents\ndeclined: 3750 of 9900\n",
        "",
    )
