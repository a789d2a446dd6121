"""The receiver of the documentation takes what is sent, once, and nothing else."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from paycore.domain.webhooks import DeliveryState
from tests.integration.projector.ledger import Payment, TestLedger
from tests.integration.webhooks.conftest import Start
from tests.integration.webhooks.desk import Desk

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "webhook_receiver.py"


def example() -> Any:
    spec = importlib.util.spec_from_file_location("webhook_receiver", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


async def test_the_documented_receiver_takes_each_event_once(
    desk: Desk, ledger: TestLedger, start: Start
) -> None:
    module = example()
    # Its secret is known once it is subscribed, which needs its port.
    receiver = module.Receiver("")
    runner = web.AppRunner(module.application(receiver))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    created = await desk.create(url, "transfer.posted")
    assert created.secret is not None
    receiver.__init__(created.secret.text)
    start()
    accounts = await ledger.open_pair()
    ids = await ledger.post([Payment(*accounts, 1), Payment(*accounts, 2)])
    which = created.figures.subscription
    await desk.until_all(which, DeliveryState.DELIVERED, 2)
    for delivery in await desk.deliveries(which):
        await desk.replay(delivery.id)
    await desk.until_all(which, DeliveryState.DELIVERED, 2)
    assert {event["data"]["id"] for event in receiver.events} == set(map(str, ids))
    assert len(receiver.events) == 2
    async with aiohttp.ClientSession() as session:
        for headers in ({}, {"Paycore-Signature": "t=1,v1=00"}):
            async with session.post(url, data=b"{}", headers=headers) as response:
                assert response.status == 400
    assert len(receiver.events) == 2
    await runner.cleanup()
