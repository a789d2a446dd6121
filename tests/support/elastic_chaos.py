"""Faults of Elasticsearch by chance: overload, outages, and requests that are done in part."""

from __future__ import annotations

import json
import random
from collections import Counter
from itertools import pairwise

from aiohttp import web

from tests.support.elastic_proxy import FaultyProxy, refusal

_FAULTS = ("429", "503", "lost reply", "partial")
_REFUSED_ITEMS = {
    429: "es_rejected_execution_exception",
    503: "unavailable_shards_exception",
    500: "exception",
}


class Chaos:
    """The fault of a proxy: a share of its requests fails in one of several ways."""

    def __init__(self, proxy: FaultyProxy, chance: random.Random, share: float) -> None:
        self._proxy = proxy
        self._chance = chance
        self.share = share
        self.injected: Counter[str] = Counter()

    async def __call__(self, request: web.Request, body: bytes) -> web.StreamResponse | None:
        if self._chance.random() >= self.share:
            return None
        bulk = request.path == "/_bulk"
        fault = self._chance.choice(_FAULTS if bulk else _FAULTS[:3])
        self.injected[fault] += 1
        match fault:
            case "429" | "503":
                return refusal(int(fault))
            case "partial":
                return await self._in_part(request, body)
            case _:
                # It was done, and nobody hears of it.
                await self._proxy.forward(request, body)
                return refusal(503)

    async def _in_part(self, request: web.Request, body: bytes) -> web.Response:
        """Some items are passed on; the others are refused as a busy node refuses them."""
        lines = body.split(b"\n")[:-1]
        items = list(zip(lines[::2], lines[1::2], strict=True))
        passed = [self._chance.random() < 0.5 for _ in items]
        forwarded = b"".join(
            head + b"\n" + source + b"\n"
            for (head, source), goes in zip(items, passed, strict=True)
            if goes
        )
        answers = iter(())
        if forwarded:
            reply = await self._proxy.forward(request, forwarded)
            if reply.status != 200:
                return reply
            assert isinstance(reply.body, bytes)
            answers = iter(json.loads(reply.body)["items"])
        merged = [next(answers) if goes else self._refused() for goes in passed]
        content = json.dumps({"errors": True, "items": merged}).encode()
        return refusal(200, content)

    def _refused(self) -> dict[str, object]:
        status = self._chance.choice(list(_REFUSED_ITEMS))
        error = {"type": _REFUSED_ITEMS[status], "reason": "by chance"}
        return {"index": {"status": status, "error": error}}


def never_falls(values: list[int]) -> bool:
    """Whether each of `values` is at least the one before."""
    return all(before <= after for before, after in pairwise(values))
