"""Elasticsearch's distribution: fetched from Maven Central, checked, unpacked once a machine.

The unpacked folder is shared and only ever read: each stack has its own configuration, data
and temporary files.
"""

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import requests
from jgo.maven import MavenContext, PythonResolver

from deploy.local.errors import DownloadError
from deploy.local.part import Preparation

GROUP = "org.elasticsearch.distribution.integ-test-zip"
ARTIFACT = "elasticsearch"
VERSION = "9.1.5"
SHA256 = "44d43090e4e17147500ed1601c1f5688ba9a4806c8111e2367f2953235335dd9"

REQUEST_TIMEOUT_S = 30
DOWNLOAD_ATTEMPTS = 3
RETRY_PAUSE_S = 1.0
LOCK_TIMEOUT_S = 900.0
LOCK_INTERVAL_S = 0.2
READ_BYTES = 1024 * 1024


def ensure_distribution(cache: Path, mirror: str | None, preparation: Preparation) -> Path:
    """Return the unpacked distribution, fetching it at the first use on this machine.

    `mirror` is the URL of a Maven repository to ask instead of Maven Central. Raises
    DownloadError where the distribution cannot be had or is not the pinned one,
    StartCancelledError when the stack is told to stop meanwhile.
    """
    home = cache / f"{ARTIFACT}-{VERSION}"
    if home.exists():
        return home
    with _only_one(cache / f"{ARTIFACT}-{VERSION}.lock", preparation):
        if not home.exists():
            with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=cache) as name:
                work = Path(name)
                archive = _fetch(work, mirror, preparation)
                _check(archive)
                _unpack(archive, work / "unpacked", preparation)
                (work / "unpacked" / home.name).rename(home)
    return home


def _fetch(work: Path, mirror: str | None, preparation: Preparation) -> Path:
    resolver = PythonResolver(progress_callback=_progress(preparation))
    for attempt in range(1, DOWNLOAD_ATTEMPTS + 1):
        # A fresh folder each time: the resolver takes a partial file for a whole one.
        context = MavenContext(
            resolver=resolver,
            repo_cache=work / f"maven-{attempt}",
            remote_repos={"mirror": mirror} if mirror is not None else None,
            timeout=REQUEST_TIMEOUT_S,
        )
        component = context.project(GROUP, ARTIFACT).at_version(VERSION)
        try:
            return Path(component.artifact(packaging="zip").resolve())
        except (requests.RequestException, RuntimeError) as error:
            preparation.check()
            reason = error
            if attempt < DOWNLOAD_ATTEMPTS:
                time.sleep(RETRY_PAUSE_S * attempt)
    raise DownloadError(
        f"Elasticsearch {VERSION} could not be fetched from {mirror or 'Maven Central'}"
        f" ({GROUP}:{ARTIFACT}:{VERSION}:zip) in {DOWNLOAD_ATTEMPTS} attempts: {reason}."
        " Check the network and the proxy settings, name a mirror in"
        " PAYCORE_STACK_MAVEN_MIRROR, or a server that runs already in"
        " PAYCORE_STACK_ELASTICSEARCH_URL"
    ) from reason


def _progress(
    preparation: Preparation,
) -> Callable[[str, int], AbstractContextManager[Callable[[int], None], bool | None]]:
    @contextmanager
    def begin(_name: str, total: int) -> Iterator[Callable[[int], None]]:
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            preparation.check()
            # The resolver reads in small pieces; a display needs to hear of fewer.
            before, done = done, done + count
            if before // READ_BYTES != done // READ_BYTES or done == total:
                preparation.progress("downloading", done, total)

        yield advance

    return begin


def _check(archive: Path) -> None:
    digest = hashlib.sha256()
    with archive.open("rb") as file:
        while piece := file.read(READ_BYTES):
            digest.update(piece)
    if digest.hexdigest() != SHA256:
        raise DownloadError(
            f"the file fetched as Elasticsearch {VERSION} has SHA-256 {digest.hexdigest()},"
            f" not the pinned {SHA256}: it is not used. Try again; if it stays so, something"
            " between here and the registry changes files"
        )


def _unpack(archive: Path, target: Path, preparation: Preparation) -> None:
    """Unpack, readable by all users: the stores may run as another one than the stack."""
    with zipfile.ZipFile(archive) as content:
        entries = content.infolist()
        total = sum(entry.file_size for entry in entries)
        done = 0
        for entry in entries:
            preparation.check()
            path = Path(content.extract(entry, target))
            runnable = bool(entry.external_attr >> 16 & stat.S_IXUSR)
            path.chmod(0o755 if entry.is_dir() or runnable else 0o644)
            done += entry.file_size
            preparation.progress("unpacking", done, total)
    for folder in (target, *target.rglob("*")):
        if folder.is_dir():
            folder.chmod(0o755)
    archive.unlink()


@contextmanager
def _only_one(lock: Path, preparation: Preparation) -> Iterator[None]:
    """Hold the machine-wide lock of the cache; the kernel frees it if its holder dies."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                preparation.check()
                if time.monotonic() > deadline:
                    raise DownloadError(
                        f"another stack has been fetching Elasticsearch for {LOCK_TIMEOUT_S:g} s"
                        f" (it holds {lock})"
                    ) from error
                time.sleep(LOCK_INTERVAL_S)
        _remove_unfinished(lock.parent)
        yield
    finally:
        os.close(descriptor)


def _remove_unfinished(cache: Path) -> None:
    # Under the lock nobody else is at work here, so these are of a start that was killed.
    for folder in cache.glob(".unfinished-*"):
        shutil.rmtree(folder)
