"""The distribution is used only when it is the pinned one; failures say what to do."""

import fcntl
import functools
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import elasticsearch_distribution
from deploy.local.elasticsearch_distribution import (
    ARTIFACT,
    GROUP,
    SHA256,
    VERSION,
    ensure_distribution,
)
from deploy.local.errors import DownloadError, StartCancelledError
from deploy.local.part import Preparation


class Mirror:
    """A Maven repository on loopback, serving files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.place = folder.joinpath(*GROUP.split("."), ARTIFACT, VERSION)
        self.place.mkdir(parents=True)
        self.requests: list[str] = []
        mirror = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_request(self, code: object = "-", size: object = "-") -> None:
                mirror.requests.append(self.path)

            def log_error(self, *arguments: object) -> None: ...

        handler = functools.partial(Handler, directory=str(folder))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another attempt is made at once."""
    monkeypatch.setattr(elasticsearch_distribution, "RETRY_PAUSE_S", 0.0)


@pytest.fixture
def mirror(folder: Path) -> Iterator[Mirror]:
    mirror = Mirror(folder / "mirror")
    yield mirror
    mirror.close()


@pytest.fixture
def cache(folder: Path) -> Path:
    (folder / "cache").mkdir()
    return folder / "cache"


def preparation() -> Preparation:
    return Preparation(lambda _what, _done, _total: None, threading.Event())


def left_in(cache: Path) -> list[str]:
    return [name for name in os.listdir(cache) if not name.endswith(".lock")]


def test_a_file_with_another_digest_is_refused_and_not_kept(cache: Path, mirror: Mirror) -> None:
    (mirror.place / f"{ARTIFACT}-{VERSION}.zip").write_bytes(b"something else")

    with pytest.raises(DownloadError, match=f"not the pinned {SHA256}"):
        ensure_distribution(cache, mirror.url, preparation())

    assert left_in(cache) == []


def test_an_unreachable_registry_is_named_with_what_to_do(cache: Path, mirror: Mirror) -> None:
    url = mirror.url
    mirror.server.socket.close()

    with pytest.raises(DownloadError, match="PAYCORE_STACK_ELASTICSEARCH_URL") as caught:
        ensure_distribution(cache, url, preparation())

    assert f"{GROUP}:{ARTIFACT}:{VERSION}:zip" in str(caught.value)
    assert "3 attempts" in str(caught.value)
    assert left_in(cache) == []


def test_an_absent_file_is_asked_for_a_bounded_number_of_times(cache: Path, mirror: Mirror) -> None:
    with pytest.raises(DownloadError, match="3 attempts"):
        ensure_distribution(cache, mirror.url, preparation())

    assert len([path for path in mirror.requests if path.endswith(".zip")]) <= 6


def test_one_stack_fetches_while_another_waits_until_told_to_stop(
    cache: Path, mirror: Mirror
) -> None:
    lock = os.open(cache / f"{ARTIFACT}-{VERSION}.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    waiting = preparation()
    outcome: list[Exception] = []

    def wait() -> None:
        try:
            ensure_distribution(cache, mirror.url, waiting)
        except StartCancelledError as error:
            outcome.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    waiter.join(0.5)
    assert waiter.is_alive()
    assert mirror.requests == []
    waiting.cancelled.set()
    waiter.join(30)
    os.close(lock)

    assert len(outcome) == 1


def test_what_a_killed_start_left_in_the_cache_is_removed(cache: Path, mirror: Mirror) -> None:
    (cache / ".unfinished-abc" / "maven-1").mkdir(parents=True)

    with pytest.raises(DownloadError):
        ensure_distribution(cache, mirror.url, preparation())

    assert left_in(cache) == []


def test_an_unpacked_distribution_is_used_without_asking_anybody(
    cache: Path, mirror: Mirror
) -> None:
    home = cache / f"{ARTIFACT}-{VERSION}"
    home.mkdir()

    assert ensure_distribution(cache, mirror.url, preparation()) == home
    assert mirror.requests == []
