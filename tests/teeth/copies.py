"""Copies of a tree, and patches that are applied to them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.teeth.bugs import Bug, TeethError

LEFT_OUT = shutil.ignore_patterns(
    ".git",
    ".venv",
    ".paycore",
    ".build",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".hypothesis",
    ".import_linter_cache",
    "*.egg-info",
    "__pycache__",
)
"""Of a checkout: what is no source."""

READABLE = 0o755


def copy_tree(tree: Path, place: Path, *, compiled: bool = False) -> Path:
    """Copy the sources of `tree` to `place`, which must not exist; `compiled` with bytecode."""
    shutil.copytree(tree, place, symlinks=True, ignore=None if compiled else LEFT_OUT)
    # What runs as another user than root starts from here.
    place.chmod(READABLE)
    return place


def apply(bug: Bug, tree: Path) -> None:
    """Put `bug` into `tree`. Raises TeethError where it does not fit exactly."""
    _git_apply(bug, tree)


def check_applies(bug: Bug, tree: Path) -> None:
    """Raise TeethError where `bug` does not fit `tree` exactly; nothing is changed."""
    _git_apply(bug, tree, "--check")


def _git_apply(bug: Bug, tree: Path, *options: str) -> None:
    # Lines may have moved; what stands around the change must be the same.
    done = subprocess.run(
        ["git", "apply", *options, "--whitespace=nowarn", str(bug.patch.resolve())],
        cwd=tree,
        # A copy is of no repository, whatever it lies in.
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.resolve().parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise TeethError(f"{bug.patch.name} no longer applies: {done.stderr.strip()}")
