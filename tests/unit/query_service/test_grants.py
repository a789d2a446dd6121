"""Grants fail closed."""

from __future__ import annotations

import socket

import pytest

import database
from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.clock import SystemClock
from query_service.grants import GrantsLoader


async def test_nothing_is_known_before_postgresql_has_answered() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dsn = f"postgresql://paycore_query@127.0.0.1:{closed.getsockname()[1]}/paycore"
        loader = GrantsLoader(dsn, database.load("query"), SystemClock())
        assert await loader.refresh() is False
    assert loader.age_s() is None
    with pytest.raises(PaycoreError) as caught:
        loader.current()
    assert caught.value.reason is Reason.DATABASE_UNAVAILABLE
    assert caught.value.retry_after_ms is not None
    await loader.close()
