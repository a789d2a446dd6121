"""SoftHSM, a token in software: the distribution's, or Debian's package unpacked in the cache."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import pkcs11

from deploy.local.cache import cache_folder
from deploy.local.settings import StackSettings

PACKAGES = ("libsofthsm2", "softhsm2")
LIBRARY = "libsofthsm2.so"
TOOL = "softhsm2-util"
INSTALLED = (Path("/usr/lib"), Path("/usr/lib64"), Path("/usr/local/lib"))
TIMEOUT_S = 120
USER_PIN = "a user's PIN of tests"
OFFICER_PIN = "an officer's PIN of tests"


class SoftHsm(NamedTuple):
    """A library and the tool that makes its tokens."""

    module: Path
    tool: Path

    def token(self, label: str) -> str:
        """Make an empty token; its label."""
        _run(
            [
                *(str(self.tool), "--module", str(self.module), "--init-token", "--free"),
                *("--label", label, "--pin", USER_PIN, "--so-pin", OFFICER_PIN),
            ],
            Path(),
        )
        # A library that was begun before the token was made does not know it.
        pkcs11.lib(str(self.module)).reinitialize()
        return label


def start(folder: Path) -> SoftHsm:
    """SoftHSM with its tokens in `folder`: one folder for each process. Raises RuntimeError when it
    can neither be found nor fetched."""
    tokens = folder / "tokens"
    tokens.mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(
        f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    os.environ["SOFTHSM2_CONF"] = str(configuration)
    return _installed() or _unpacked()


def _installed() -> SoftHsm | None:
    tool = shutil.which(TOOL)
    for root in INSTALLED:
        for pattern in (f"softhsm/{LIBRARY}", f"*/softhsm/{LIBRARY}", f"pkcs11/{LIBRARY}"):
            for library in sorted(root.glob(pattern)):
                if tool is not None:
                    return SoftHsm(library, Path(tool))
    return None


def _unpacked() -> SoftHsm:
    cache = cache_folder(StackSettings())
    home = cache / PACKAGES[-1]
    with (cache / f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=cache) as name:
                work = Path(name)
                _fetch(work)
                for archive in work.glob("*.deb"):
                    _run(["dpkg-deb", "-x", str(archive), str(work / "root")], work)
                (work / "root").rename(home)
    library = next(path for path in home.rglob(LIBRARY) if not path.is_symlink())
    return SoftHsm(library, home / "usr" / "bin" / TOOL)


def _fetch(work: Path) -> None:
    """By the machine's own sources of packages, with lists of our own where it has none: neither
    needs root."""
    if shutil.which("apt-get") is None:
        raise RuntimeError("SoftHSM is not installed, and there is no apt-get to fetch it with")
    try:
        _run(["apt-get", "download", *PACKAGES], work)
    except RuntimeError:
        lists = work / "lists"
        (lists / "partial").mkdir(parents=True)
        own = ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={work}"]
        _run(["apt-get", *own, "update"], work)
        _run(["apt-get", *own, "download", *PACKAGES], work)


def _run(command: list[str], folder: Path) -> None:
    result = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed: {result.stderr.strip()[-500:]}")
