"""Where downloads are kept: a folder of the user, shared by all checkouts and stacks."""

import os
from pathlib import Path

from deploy.local.settings import StackSettings

ROOT_CACHE = Path("/var/cache/paycore")


def cache_folder(settings: StackSettings) -> Path:
    """Return, and make, the cache folder.

    Root's home is usually closed to the unprivileged user that the stores run as, so root
    keeps its cache where system caches lie.
    """
    folder = settings.cache or _default()
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def _default() -> Path:
    if os.geteuid() == 0:
        return ROOT_CACHE
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "paycore"
