"""The world before the first call."""

from __future__ import annotations

import asyncio
import random
from functools import partial
from pathlib import Path

from deploy.local import Endpoints
from paycore.signing.v1.data_key_service_pb2_grpc import DataKeyServiceStub
from paycore.v1 import history_service_pb2 as history
from tests.bench.payers import current_sealing_key
from tests.support.callers import Caller, Callers, answered, payment
from tests.support.command_process import command_process
from tests.support.fuzzing.right.money import hold, link
from tests.support.fuzzing.right.signing import create_data_keys, enrolled_owner, vouch
from tests.support.fuzzing.right.webhooks import create
from tests.support.fuzzing.right.world import CLIENTS, TIMEOUT_S, Books, World

ACCOUNTS = 6
BALANCE = 1_000_000
RICH = 2**50
"""For payments that must be approved."""

NOBODY = "127.0.0.1:1"


async def prepared(callers: Callers, rng: random.Random) -> World:
    """Accounts, payments, holds and people, made as any caller would."""
    app, operator = callers.of("app"), callers.of("operator")
    data_keys = DataKeyServiceStub(callers.of("command").channels["signing"])
    sealing = await current_sealing_key(app.signing)
    world = World(callers, rng, sealing, await enrolled_owner(app.signing, sealing))
    world.with_pin.append(world.owner.user)
    for _ in range(4):
        request = await vouch(world, "operator")
        reply = await operator.signing.VouchForDevice(request, timeout=TIMEOUT_S)
        world.devices.append((request.user_id, reply.device_id))
    positions = [await _open_books(world, callers.of(client)) for client in CLIENTS]
    for client in CLIENTS:
        # On a busy machine the keys for its secret may not be had at once.
        subscribe = callers.of(client).webhooks.CreateSubscription
        wanted = await create(world, client)
        made = await answered(partial(subscribe, wanted, timeout=TIMEOUT_S))
        world.subscriptions[client].append(made.subscription.id)
    keys = await data_keys.CreateDataKeys(
        await create_data_keys(world, "command"), timeout=TIMEOUT_S
    )
    world.data_keys.extend(key.key_id for key in keys.keys)
    await _indexed(world, positions[-1])
    return world


async def _open_books(world: World, caller: Caller) -> str:
    """Returns the position of the last thing that was written."""
    external, *accounts = await caller.open(ACCOUNTS, balance=BALANCE)
    _, approving = await caller.open(1, owner=world.owner.user)
    await caller.fund(external, [approving], RICH, "EUR")
    books = world.books[caller.name] = Books(external, accounts, approving)
    _, *spare = await caller.open(20)
    books.spare.extend(spare)
    position = ""
    for _ in range(6):
        debit, credit = world.two_of(caller.name)
        request = payment(debit, credit, 100)
        posted = await caller.submit(request)
        books.payments.append(posted.transfer.id)
        books.keys.append(request.idempotency_key)
        held = await caller.transfers.HoldFunds(await hold(world, caller.name), timeout=TIMEOUT_S)
        books.holds.append(held.transfer.id)
        position = held.position
    request = await link(world, caller.name)
    await caller.accounts.LinkExternalIdentifier(request, timeout=TIMEOUT_S)
    books.names.append(request.identifier.value)
    return position


async def hold_for_review(world: World, endpoints: Endpoints, log: Path, many: int) -> None:
    """Have `many` payments wait for a review: by a command service whose judge never answers."""
    settings = {"RISK": "remote", "RISK_TARGET": NOBODY, "RISK_ON_SILENCE": "review"}
    async with (
        command_process(endpoints, log, **settings) as (target, _),
        Callers(endpoints, target) as callers,
    ):
        app = callers.of("app")

        async def one() -> None:
            debit, credit = world.two_of("app")
            held = await app.submit(payment(debit, credit, 1))
            world.reviews.append(held.transfer.id)

        await asyncio.gather(*(one() for _ in range(many)))


async def _indexed(world: World, position: str) -> None:
    """Wait until queries show all that was prepared."""
    request = history.GetTransferRequest(
        transfer_id=world.books["app"].payments[0], min_position=position
    )
    asked = world.callers.of("app").history
    await answered(lambda: asked.GetTransfer(request, timeout=TIMEOUT_S))
