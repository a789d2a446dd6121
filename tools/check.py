"""Run every static check and say which failed: `make check`.

Exit code 0 when all passed, 1 otherwise.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
MIGRATIONS = ROOT / "database" / "migrations" / "versions"
SOURCES = [
    "paycore",
    "database",
    "command_service",
    "signing_service",
    "projector",
    "query_service",
    "operations",
    "deploy",
    "tests",
    "tools",
    "docs/examples",
]


def lint_migrations(scripts: Sequence[Path]) -> list[str]:
    """Command line that fails where a statement of `scripts` is unsafe on a live table."""
    return [f"{BIN}/squawk", "--config", str(ROOT / ".squawk.toml"), *map(str, scripts)]


def checks(descriptors: str) -> dict[str, list[list[str]]]:
    """What is run, by name: command lines that must all exit with 0."""
    python = sys.executable
    stubs = [python, "-m", "tools.generate_stubs"]
    return {
        "format": [[f"{BIN}/ruff", "format", "--check", *SOURCES]],
        "lint": [[f"{BIN}/ruff", "check", *SOURCES]],
        "types": [[f"{BIN}/mypy", *SOURCES]],
        "import rules": [[f"{BIN}/lint-imports"]],
        "migrations": [lint_migrations(sorted(MIGRATIONS.glob("*.sql")))],
        "stubs current": [[*stubs, "--check"]],
        "protos": [
            [*stubs, "--descriptors", descriptors],
            [f"{BIN}/buf", "lint", descriptors, "--config", "buf.yaml"],
        ],
    }


def main() -> int:
    """Run all checks, each to its end, so that one run shows everything that is wrong."""
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"}
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, commands in checks(f"{folder}/protos.binpb").items():
            started = time.monotonic()
            ok = True
            for command in commands:
                result = subprocess.run(
                    command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
                )
                if result.returncode != 0:
                    ok = False
                    print(result.stdout + result.stderr, end="")
                    break
            print(f"{'ok    ' if ok else 'FAILED'} {name} ({time.monotonic() - started:.1f} s)")
            if not ok:
                failed.append(name)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
