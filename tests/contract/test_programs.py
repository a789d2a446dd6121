"""Random programs of several clients on the running services: they answer as the model does.

PAYCORE_EXAMPLES says how many commands are asked for in all, PROGRAM of them on the same accounts.
"""

from __future__ import annotations

import random

import asyncpg
import pytest

from paycore.v1 import account_pb2
from paycore.v1 import account_service_pb2 as accounts_pb2
from tests.support.callers import TIMEOUT_S, Callers, opening
from tests.support.ledger_checks import violations
from tests.support.ledger_model.asked import Asked, Following, LimitChange, Payment, StatusChange
from tests.support.ledger_model.author import Author
from tests.support.ledger_model.following import REVIEWS
from tests.support.ledger_model.in_messages import Service, as_told, now_us
from tests.support.ledger_model.ledger import ModelLedger
from tests.support.ledger_model.likeness import Names, difference
from tests.support.ledger_model.told import Told
from tests.support.ledger_model.world import CLIENTS, LOCAL_THRESHOLDS, books
from tests.support.seeds import rounds

COMMANDS = rounds("PAYCORE_EXAMPLES", 400)

PROGRAM = 200


def may_call(asked: Asked) -> bool:
    """Whether the local stack lets the client call the method at all."""
    if isinstance(asked, StatusChange | LimitChange):
        return asked.client == "operator"
    if isinstance(asked, Following) and asked.wish in REVIEWS:
        return asked.client == "operator"
    reverses = isinstance(asked, Following) and asked.wish == "REVERSAL"
    return asked.client != "operator" or reverses


class Program:
    """A model, and accounts of the same kinds on the services, whose outcomes are compared."""

    def __init__(self, callers: Callers, chance: random.Random) -> None:
        self.callers = callers
        self.chance = chance
        self.names = Names()
        self.model = ModelLedger(books(LOCAL_THRESHOLDS))
        self.service = Service(callers, self.names)
        self.author = Author(
            self.model.books,
            chance,
            CLIENTS,
            strangers=True,
            largest=2**62,
            prefix=f"{chance.getrandbits(64):x}-",
        )

    async def open(self) -> None:
        """Open the model's accounts, each by its client."""
        for number, account in self.model.books.accounts.items():
            kind = "EXTERNAL" if account.outside else "CUSTOMER"
            reply = await self.callers.of(account.opened_by).accounts.CreateAccount(
                opening(
                    kind=account_pb2.AccountKind.Value(f"ACCOUNT_KIND_{kind}"),
                    institution=account.institution,
                    currency=account.currency,
                    overdraft_limit_minor_units=account.overdraft,
                ),
                timeout=TIMEOUT_S,
            )
            self.names.accounts[number] = reply.account.id

    async def run(self, commands: int) -> None:
        """Ask for so many commands, one at a time, or payments by a request or a stream."""
        while commands > 0:
            client = self.author.client()
            asked: list[Asked] = [self.author.any_command(client, now_us())]
            draw = self.chance.random()
            if draw < 0.08:
                asked = [self.author.change("operator")]
            elif draw < 0.3 and client != "operator":
                asked = [self.author.payment(client) for _ in range(self.chance.randint(2, 12))]
                asked += asked[:1] if draw < 0.15 else []
            if not all(map(may_call, asked)):
                continue
            commands -= len(asked)
            await self._ask(client, asked)
            self.author.answered(asked)
        for client, key in list(self.service.first_replies):
            if not key.startswith("change/"):
                await self.service.look_up(client, key)
        await self._compare_accounts()

    async def _ask(self, client: str, asked: list[Asked]) -> None:
        expected = [self.model.decide(one, now_us()) for one in asked]
        payments = [one for one in asked if isinstance(one, Payment)]
        seen: list[Told]
        once = len({one.key for one in asked}) == len(asked)
        if len(asked) > 1 and once and self.chance.random() < 0.5:
            seen = await self.service.tell_in_a_stream(client, payments, expected)
        elif len(asked) > 1:
            seen = await self.service.tell_many(client, payments, expected)
        else:
            seen = [await self.service.tell(asked[0], expected[0])]
        for one, wanted, told in zip(asked, expected, seen, strict=True):
            other = difference(as_told(wanted), told)
            assert other is None, f"{one}: {other}\n{wanted}\n{told}"

    async def _compare_accounts(self) -> None:
        model = self.model.books
        operator = self.callers.of("operator").accounts
        for number, account in model.accounts.items():
            request = accounts_pb2.GetAccountRequest(account_id=self.names.account(number))
            stored = (await operator.GetAccount(request, timeout=TIMEOUT_S)).account
            assert stored.balance_minor_units == model.balance(number)
            assert stored.held_minor_units == model.held(number)
            assert (stored.version, stored.revision) == (model.version(number), account.revision)
            available = min(model.available(number), 2**63 - 1)
            assert stored.available_minor_units == available


@pytest.mark.timeout(300 + COMMANDS // 5)
async def test_the_services_agree_with_the_model(
    callers: Callers, tables: asyncpg.Connection, rng: random.Random
) -> None:
    for begun in range(0, COMMANDS, PROGRAM):
        program = Program(callers, rng)
        await program.open()
        await program.run(min(PROGRAM, COMMANDS - begun))
        assert program.model.books.movements
    assert await violations(tables) == []
