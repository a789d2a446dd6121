"""Load on the running stack while its parts are killed, stopped and restarted."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest

from deploy.local import LocalStack
from paycore.client import PaycoreClient
from tests.support.callers import Callers
from tests.support.load import Load, patient_client

CLIENT = "loadtest"


@pytest.fixture
async def callers(services: LocalStack) -> AsyncIterator[Callers]:
    """Raw callers, whose connections end with the test."""
    async with Callers(services.endpoints) as callers:
        yield callers


@pytest.fixture
async def client(services: LocalStack) -> AsyncIterator[PaycoreClient]:
    """Our client as CLIENT."""
    async with patient_client(services.endpoints, CLIENT) as client:
        yield client


@pytest.fixture
async def load(callers: Callers, client: PaycoreClient, rng: random.Random) -> Load:
    """Payments between 40 accounts of this test's own."""
    _, *accounts = await callers.of(CLIENT).open(40, balance=5_000)
    return Load(client, accounts, rng)
