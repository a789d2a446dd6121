"""Receive webhooks: verify, remember what was taken, answer at once.

    PAYCORE_WEBHOOK_SECRET=whsec_... .venv/bin/python docs/examples/webhook_receiver.py 8443

Behind something that speaks TLS. What is to be done about an event is done after the answer, for
which paycore waits 10 seconds.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from aiohttp import web

from paycore.client.webhook_signatures import WebhookError, verify


class Receiver:
    """Takes each event once, however often it is sent. A database would remember for longer."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._seen: set[str] = set()
        self.events: list[dict[str, Any]] = []

    async def handle(self, request: web.Request) -> web.Response:
        """400 for what is not paycore's, 200 for what is."""
        body = await request.read()
        try:
            event = verify(
                self._secret, request.headers.get("Paycore-Signature"), body, now=time.time()
            )
        except WebhookError as error:
            return web.Response(status=400, text=str(error))
        if event["id"] not in self._seen:
            self._seen.add(event["id"])
            self.events.append(event)
            print(event["type"], event["data"].get("amount"))
        return web.Response()


def application(receiver: Receiver) -> web.Application:
    """The receiver at /hook."""
    app = web.Application(client_max_size=65_536)
    app.router.add_post("/hook", receiver.handle)
    return app


if __name__ == "__main__":
    web.run_app(
        application(Receiver(os.environ["PAYCORE_WEBHOOK_SECRET"])),
        host="127.0.0.1",
        port=int(sys.argv[1]),
    )
