"""Health follows whether there can be ids, and is told of changes only."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from command_service.posting import id_readiness
from command_service.posting.id_readiness import tell_of_ids
from paycore.domain.errors import PaycoreError, Reason


@dataclass
class Ids:
    """As much of an IdSource as is asked."""

    stranded: PaycoreError | None = None


async def test_health_is_told_when_there_can_be_no_ids_and_when_there_can_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(id_readiness, "LOOK_EVERY_S", 0.001)
    told: list[bool] = []

    async def set_serving(serving: bool) -> None:
        told.append(serving)

    ids: Any = Ids()
    telling = asyncio.create_task(tell_of_ids(ids, set_serving))
    await asyncio.sleep(0.05)
    assert told == []
    ids.stranded = PaycoreError(Reason.OVERLOADED, "no number is left")
    await asyncio.sleep(0.1)
    assert told == [False]
    ids.stranded = None
    await asyncio.sleep(0.1)
    assert told == [False, True]
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)
