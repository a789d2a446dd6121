"""`python -m signing_service`: one signing process, told by PAYCORE_SIGNING_* variables."""

from __future__ import annotations

import sys

import structlog

from paycore.runtime import logs, process
from paycore.runtime.clock import SystemClock
from paycore.runtime.settings import read_settings
from signing_service.keystore.opening import open_keystore
from signing_service.keystore.port import KeystoreError
from signing_service.service import serve
from signing_service.settings import SigningSettings

log = structlog.get_logger()

KEYS_UNUSABLE = 2
"""Exit code when the keystore cannot be opened: starting again will not help."""


def main() -> int:
    """Run until SIGTERM or SIGINT; the exit code."""
    settings = read_settings(SigningSettings)
    logs.configure("signing", settings.log_level)
    try:
        keystore = open_keystore(settings, SystemClock().now_us())
    except (KeystoreError, OSError) as error:
        log.error("refusing to start: the keystore cannot be used", why=str(error))
        return KEYS_UNUSABLE
    return process.run(lambda stop: serve(settings, keystore, stop))


if __name__ == "__main__":
    sys.exit(main())
