"""Long requests a stretch at a time, so that short ones of other callers need not wait for them."""

from __future__ import annotations

import asyncio
from collections import deque

AT_A_STRETCH = 50
"""Transfers of a long request that are worked on before other calls have their turn."""


class Stretches:
    """Lets one stretch of one long request run in each turn of the event loop.

    Were each request only to give way by itself, a turn would take longer the more of them there
    are, and a payment needs a dozen turns.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._going = False

    async def next(self) -> None:
        """Wait for a turn of the loop in which no other stretch runs; they come in order."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        if not self._going:
            self._going = True
            loop.call_soon(self._let_one_go)
        await turn

    def _let_one_go(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                break
        self._going = bool(self._waiting)
        if self._going:
            asyncio.get_running_loop().call_soon(self._let_one_go)
