"""Tokens of a service with the index are good at one without it, and no other text is a token."""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from paycore.domain.accounts import AccountId
from paycore.domain.errors import Reason
from paycore.domain.position import Position
from paycore.runtime.channel import open_channel
from paycore.v1 import history_service_pb2 as pb
from query_service.__main__ import serve
from query_service.readers.port import TransferFilter
from tests.integration.query_service.calls import Caller, named, refused
from tests.integration.query_service.conftest import free_port, service_settings, until_serving
from tests.integration.query_service.readers import oracle
from tests.integration.query_service.readers.conftest import World

START_US, END_US = 1_600_000_000_000_000, 4_000_000_000_000_000


@asynccontextmanager
async def serving(world: World, key_file: Path, **changes: object) -> AsyncIterator[Caller]:
    settings = service_settings(world.database, key_file).model_copy(
        update={
            "index_prefix": world.database.name,
            "signing_target": world.signer.target,
            **changes,
        }
    )
    stop = asyncio.Event()
    service = asyncio.create_task(serve(settings, stop))
    await until_serving(settings)
    tls = world.database.endpoints.tls["analyst"]
    async with open_channel(settings.listen, tls, service="query") as channel:
        yield Caller.on(channel)
    stop.set()
    await service


@pytest.fixture
async def both(world: World, tmp_path: Path) -> AsyncIterator[tuple[Caller, Caller]]:
    """A service with the index and one without, which share the key of tokens."""
    await world.catch_up()
    key_file = tmp_path / "page-token.key"
    key_file.write_text(secrets.token_hex(32))
    nowhere = f"http://127.0.0.1:{free_port()}"
    async with AsyncExitStack() as stack:
        with_index = await stack.enter_async_context(serving(world, key_file))
        without = await stack.enter_async_context(
            serving(world, key_file, elasticsearch_url=nowhere)
        )
        yield with_index, without


def busiest(world: World) -> int:
    return world.program.names.accounts[min(world.program.names.accounts)]


async def resume_token(caller: Caller, account: int) -> str:
    call = caller.history.WatchTransfers(_watch(account), timeout=20)
    reply: Any = await call.read()
    call.cancel()
    token: str = reply.resume_token
    return token


def _watch(account: int, start: str = "") -> Any:
    return pb.WatchTransfersRequest(account_id=account, start_position=start)


async def test_walks_go_on_at_the_other_service_and_neither_misses_nor_doubles(
    world: World, both: tuple[Caller, Caller]
) -> None:
    for account in world.accounts[:6]:
        expected = await oracle.listed(
            world.admin, TransferFilter(AccountId(account), include_declines=True)
        )
        for first in (0, 1):
            found: list[int] = []
            sources: set[str] = set()
            token = ""
            for turn in itertools.count(first):
                page = await both[turn % 2].page(
                    account,
                    page_token=token,
                    page_size=2,
                    include_declines=True,
                    include_total=True,
                )
                found += [one.id for one in page.transfers]
                sources.add(page.freshness.source)
                assert (page.total.count, page.total.at_least) == (len(expected), False)
                token = page.next_page_token
                if not token:
                    break
            assert found == expected
            if len(expected) > 2:
                assert sources == {"elasticsearch", "postgresql"}


async def test_statements_go_on_at_the_other_service(
    world: World, both: tuple[Caller, Caller]
) -> None:
    for account in world.accounts[:6]:
        entries = await oracle.entries(world.admin, account)
        found: list[int] = []
        token, closing = "", 0
        for turn in itertools.count():
            page = await both[turn % 2].statement(
                account, START_US, END_US, page_token=token, page_size=2, include_holds=True
            )
            assert page.opening_balance.minor_units == closing
            closing = page.closing_balance.minor_units
            found += [one.transfer_id for one in page.entries]
            token = page.next_page_token
            if not token:
                break
        assert found == [one.transfer for one in entries]


async def test_a_position_of_either_is_reached_by_the_other(
    world: World, both: tuple[Caller, Caller]
) -> None:
    account = busiest(world)
    for one, other in (both, reversed(both)):
        shown = (await one.balance(account)).freshness.position
        again = await other.balance(account, min_position=shown)
        assert Position.decode(again.freshness.position) >= Position.decode(shown)


async def test_what_is_no_token_of_this_list_is_refused_by_its_field(
    world: World, both: tuple[Caller, Caller], rng: random.Random
) -> None:
    account, other = busiest(world), world.accounts[1]
    page = await both[0].page(account, page_size=1)
    statement = await both[1].statement(account, START_US, END_US, page_size=1)
    position = page.freshness.position
    watched = await resume_token(both[0], account)
    listed, stated = page.next_page_token, statement.next_page_token
    assert listed
    assert stated

    def altered(token: str) -> list[str]:
        places = rng.sample(range(len(token)), 8)
        flipped = [
            token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
            for place in places
        ]
        cut = [token[:length] for length in (1, len(token) // 2, len(token) - 1)]
        return [*flipped, *cut, token + "A", token + "=", token[4:], token * 2, "\n" + token]

    for caller in both:
        calls: list[tuple[str, Callable[[str], Any], list[str]]] = [
            (
                "page_token",
                lambda token: caller.page(account, page_size=1, page_token=token),  # noqa: B023
                [*altered(listed), stated, position, watched],
            ),
            (
                "page_token",
                lambda token: caller.page(other, page_size=1, page_token=token),  # noqa: B023
                [listed, stated],
            ),
            (
                "page_token",
                lambda token: caller.statement(  # noqa: B023
                    account, START_US, END_US, page_size=1, page_token=token
                ),
                [*altered(stated), listed, position, watched],
            ),
            (
                "page_token",
                lambda token: caller.statement(  # noqa: B023
                    account, START_US, END_US + 1, page_size=1, page_token=token
                ),
                [stated],
            ),
            (
                "min_position",
                lambda token: caller.balance(account, min_position=token),  # noqa: B023
                [position[:-1], position + "A", position[4:], listed, stated, watched],
            ),
            (
                "start_position",
                lambda token: watch(caller, account, token),  # noqa: B023
                [*altered(watched), position[:-1], listed, stated],
            ),
            (
                "start_position",
                lambda token: watch(caller, other, token),  # noqa: B023
                [watched],
            ),
        ]
        for field, call, tokens in calls:
            for token in tokens:
                error = await refused(call(token))
                assert error.reason is Reason.INVALID_FIELD, (field, token)
                assert named(error) == {field}, (field, token)


async def watch(caller: Caller, account: int, start: str) -> object:
    call = caller.history.WatchTransfers(_watch(account, start), timeout=20)
    try:
        reply: object
        async for reply in call:
            return reply
        raise AssertionError("the watch ended well")
    finally:
        call.cancel()
