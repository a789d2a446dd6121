"""What the configurations speak of, made on a running stack as any caller would make it."""

from __future__ import annotations

import asyncio
import datetime
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from deploy.ghz.configurations import in_turn
from deploy.local.endpoints import Endpoints
from paycore.runtime.channel import open_channel
from paycore.v1 import account_pb2, money_pb2, transfer_pb2
from paycore.v1 import account_service_pb2 as accounts
from paycore.v1 import analytics_service_pb2 as analytics
from paycore.v1 import policy_service_pb2 as policy
from paycore.v1 import transfer_service_pb2 as transfers
from paycore.v1 import webhook_service_pb2 as webhooks
from paycore.v1.account_service_pb2_grpc import AccountServiceStub
from paycore.v1.analytics_service_pb2_grpc import AnalyticsServiceStub
from paycore.v1.policy_service_pb2_grpc import PolicyServiceStub
from paycore.v1.transfer_service_pb2_grpc import TransferServiceStub
from paycore.v1.webhook_service_pb2_grpc import WebhookServiceStub

CALLER = "loadtest"
OPERATOR = "operator"
ACCOUNTS = 200
FUNDS = 10**12
"""Minor units of each account: no run uses them up."""

LARGE = 10**9
"""Minor units of what is refunded and captured bit by bit."""

A_CALL = 500
TIMEOUT_S = 30.0
DESCRIPTION = "ghz"
"""Marks the subscriptions that are made here; those of an earlier run are disabled."""

REVIEWED = "ISK"
"""Every payment in it is held for review while reviews are made ready."""

RULES_WITHIN_S = 10.0
INDEXED_WITHIN_S = 120.0
"""A stack that has just started makes its index first."""

_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


@dataclass(frozen=True)
class _Stubs:
    accounts: Any
    transfers: Any
    webhooks: Any
    analytics: Any
    policy: Any

    async def until_indexed(self, position: str) -> None:
        """Return once the index shows everything up to `position`. Raises grpc.RpcError."""
        request = analytics.KindBreakdownRequest(min_position=position)
        give_up_s = time.monotonic() + INDEXED_WITHIN_S
        while True:
            try:
                await self.analytics.KindBreakdown(request, timeout=TIMEOUT_S)
                return
            except grpc.RpcError as error:
                failed: Any = error
                if failed.code() not in _PASSING or time.monotonic() > give_up_s:
                    raise
            await asyncio.sleep(0.5)


class UnreviewedError(Exception):
    """The stack judges no payments, so none waits for a review."""


class Preparation:
    """Makes things of the sorts that configurations name. Use `preparation`."""

    def __init__(self, stubs: _Stubs, accounts: Sequence[int]) -> None:
        """`accounts` have money."""
        self._stubs = stubs
        self._accounts = accounts

    async def things(self, wanted: Mapping[str, int]) -> dict[str, Iterator[str]]:
        """So many of each sort as are `wanted`; those that take turns never end.

        Raises UnreviewedError where reviews are wanted of a stack that judges no payments, and
        grpc.RpcError where it refuses anything else.
        """
        tomorrow = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
        found: dict[str, Iterator[str]] = {
            # Out of step with each other, so that a payer never pays itself.
            "payer": in_turn(_texts(self._accounts)),
            "payee": in_turn(_texts([*self._accounts[1:], self._accounts[0]])),
            "tomorrow": in_turn([f"{tomorrow:%Y-%m-%dT%H:%M:%SZ}"]),
        }
        for sort, many in wanted.items():
            match sort:
                case "spare":
                    found[sort] = in_turn(_texts(await self._open(1)))
                case "new account":
                    found[sort] = iter(_texts(await self._open(many)))
                case "name":
                    found[sort] = in_turn([await self._name()])
                case "key":
                    found[sort] = in_turn([(await self._pay([1]))[0][0]])
                case "transfer":
                    found[sort] = in_turn([await self._indexed()])
                case "payment":
                    found[sort] = in_turn(
                        _texts([one for _, one, _ in await self._pay([LARGE] * 8)])
                    )
                case "new payment":
                    found[sort] = iter(_texts([one for _, one, _ in await self._pay([1] * many)]))
                case "hold":
                    found[sort] = in_turn(_texts(await self._hold([LARGE] * 8)))
                case "new hold":
                    found[sort] = iter(_texts(await self._hold([1] * many)))
                case "subscription":
                    found[sort] = in_turn(_texts(await self._subscribe()))
                case "review":
                    found[sort] = iter(_texts(await self._review(many)))
                case "payer" | "payee" | "tomorrow":
                    pass
                case _:
                    raise ValueError(f"nobody knows what {sort!r} is")
        return found

    async def _open(self, many: int, currency: str = "EUR") -> list[int]:
        kind = account_pb2.ACCOUNT_KIND_CUSTOMER
        return await _open(self._stubs.accounts, [kind] * many, currency)

    async def _name(self) -> str:
        (account,) = await self._open(1)
        name = f"ghz-{secrets.token_hex(8)}"
        await self._stubs.accounts.LinkExternalIdentifier(
            accounts.LinkExternalIdentifierRequest(
                idempotency_key=secrets.token_hex(12),
                account_id=account,
                identifier=account_pb2.ExternalIdentifier(scheme="stripe", value=name),
            ),
            timeout=TIMEOUT_S,
        )
        return name

    async def _pay(self, amounts: Sequence[int]) -> list[tuple[str, int, str]]:
        """Key, id and position of a payment of each amount."""
        pairs = _pairs(self._accounts, len(amounts))
        requests = [
            _payment(debit, credit, amount)
            for (debit, credit), amount in zip(pairs, amounts, strict=True)
        ]
        return await _submit(self._stubs.transfers, requests)

    async def _indexed(self) -> str:
        """A payment that the index has."""
        ((_, transfer, position),) = await self._pay([1])
        await self._stubs.until_indexed(position)
        return str(transfer)

    async def _hold(self, amounts: Sequence[int]) -> list[int]:
        async def one(debit: int, credit: int, amount: int) -> int:
            request = transfers.HoldFundsRequest(
                idempotency_key=secrets.token_hex(12),
                debit_account_id=debit,
                credit_account_id=credit,
                amount=money_pb2.Money(minor_units=amount, currency="EUR"),
            )
            request.expire_time.FromSeconds(int(time.time()) + 86_400)
            held = await self._stubs.transfers.HoldFunds(request, timeout=TIMEOUT_S)
            return int(held.transfer.id)

        pairs = _pairs(self._accounts, len(amounts))
        return list(
            await asyncio.gather(
                *(one(*pair, amount) for pair, amount in zip(pairs, amounts, strict=True))
            )
        )

    async def _subscribe(self) -> list[int]:
        """One subscription, about an account of its own."""
        listed = await self._stubs.webhooks.ListSubscriptions(
            webhooks.ListSubscriptionsRequest(page_size=500), timeout=TIMEOUT_S
        )
        for one in listed.subscriptions:
            if one.description == DESCRIPTION and one.state == webhooks.SUBSCRIPTION_STATE_ENABLED:
                await self._stubs.webhooks.DisableSubscription(
                    webhooks.DisableSubscriptionRequest(
                        idempotency_key=secrets.token_hex(12), subscription_id=one.id
                    ),
                    timeout=TIMEOUT_S,
                )
        made = await self._stubs.webhooks.CreateSubscription(
            webhooks.CreateSubscriptionRequest(
                idempotency_key=secrets.token_hex(12),
                url="https://127.0.0.1:1024/",
                event_types=["account.changed"],
                account_ids=await self._open(1),
                description=DESCRIPTION,
            ),
            timeout=TIMEOUT_S,
        )
        return [made.subscription.id]

    async def _review(self, many: int) -> list[int]:
        """Payments that are held for review, by a rule that stands no longer than this takes."""
        external, payer, payee = await _open(
            self._stubs.accounts,
            [account_pb2.ACCOUNT_KIND_EXTERNAL, *[account_pb2.ACCOUNT_KIND_CUSTOMER] * 2],
            REVIEWED,
        )
        deposit = _payment(external, payer, FUNDS, REVIEWED, transfer_pb2.TRANSFER_KIND_DEPOSIT)
        await _submit(self._stubs.transfers, [deposit])
        rule = policy.RiskRule(
            currency=REVIEWED,
            daily_limit_minor_units=0,
            daily_decision=policy.RISK_RULE_DECISION_REVIEW,
        )
        await self._stubs.policy.SetRiskRule(
            policy.SetRiskRuleRequest(
                idempotency_key=secrets.token_hex(12), rule=rule, reason=DESCRIPTION
            ),
            timeout=TIMEOUT_S,
        )
        try:
            held: list[int] = []
            give_up_s = time.monotonic() + RULES_WITHIN_S
            while len(held) < many:
                one = await self._stubs.transfers.SubmitTransfer(
                    _payment(payer, payee, 1, REVIEWED), timeout=TIMEOUT_S
                )
                if one.transfer.state == transfer_pb2.TRANSFER_STATE_HELD:
                    held.append(one.transfer.id)
                elif time.monotonic() > give_up_s:
                    raise UnreviewedError
            return held
        finally:
            await self._stubs.policy.RemoveRiskRule(
                policy.RemoveRiskRuleRequest(
                    idempotency_key=secrets.token_hex(12), currency=REVIEWED, reason=DESCRIPTION
                ),
                timeout=TIMEOUT_S,
            )


@asynccontextmanager
async def preparation(
    endpoints: Endpoints, command_target: str | None = None
) -> AsyncIterator[Preparation]:
    """Accounts with money on the stack at `endpoints`, and what makes the rest.

    `command_target` stands in for the stack's own command service.
    """
    async with AsyncExitStack() as channels:

        async def channel(name: str, server: str) -> grpc.aio.Channel:
            target = endpoints.target(server)
            if server == "command":
                target = command_target or target
            opened = open_channel(target, endpoints.tls[name], service=server)
            return await channels.enter_async_context(opened)

        command, query = await channel(CALLER, "command"), await channel(CALLER, "query")
        stubs = _Stubs(
            AccountServiceStub(command),
            TransferServiceStub(command),
            WebhookServiceStub(command),
            AnalyticsServiceStub(query),
            PolicyServiceStub(await channel(OPERATOR, "command")),
        )
        external, *opened = await _open(
            stubs.accounts,
            [
                account_pb2.ACCOUNT_KIND_EXTERNAL,
                *[account_pb2.ACCOUNT_KIND_CUSTOMER] * ACCOUNTS,
            ],
        )
        kind = transfer_pb2.TRANSFER_KIND_DEPOSIT
        deposits = [_payment(external, one, FUNDS, kind=kind) for one in opened]
        *_, (_, _, position) = await _submit(stubs.transfers, deposits)
        await stubs.until_indexed(position)
        yield Preparation(stubs, opened)


async def _open(
    stub: Any, kinds: Sequence[account_pb2.AccountKind.ValueType], currency: str = "EUR"
) -> list[int]:
    found: list[int] = []
    for some in _portions(kinds):
        reply = await stub.CreateAccounts(
            accounts.CreateAccountsRequest(
                accounts=[
                    accounts.CreateAccountRequest(
                        idempotency_key=secrets.token_hex(12),
                        owner="ghz",
                        institution=f"bank-{number % 5}",
                        currency=currency,
                        kind=kind,
                    )
                    for number, kind in enumerate(some)
                ]
            ),
            timeout=TIMEOUT_S,
        )
        for outcome in reply.outcomes:
            if not outcome.HasField("account"):
                raise RuntimeError(f"an account was not opened: {outcome.error.message}")
            found.append(outcome.account.id)
    return found


async def _submit(
    stub: Any, requests: Sequence[transfers.SubmitTransferRequest]
) -> list[tuple[str, int, str]]:
    """Key, id and position of each."""
    found = []
    for some in _portions(requests):
        reply = await stub.SubmitTransfers(
            transfers.SubmitTransfersRequest(transfers=some), timeout=TIMEOUT_S
        )
        for outcome in reply.outcomes:
            if not outcome.HasField("transfer"):
                raise RuntimeError(f"a payment was not posted: {outcome.error.message}")
            found.append((outcome.idempotency_key, outcome.transfer.id, outcome.position))
    return found


def _payment(
    debit: int,
    credit: int,
    amount: int,
    currency: str = "EUR",
    kind: transfer_pb2.TransferKind.ValueType = transfer_pb2.TRANSFER_KIND_TRANSFER,
) -> transfers.SubmitTransferRequest:
    return transfers.SubmitTransferRequest(
        idempotency_key=secrets.token_hex(12),
        kind=kind,
        debit_account_id=debit,
        credit_account_id=credit,
        amount=money_pb2.Money(minor_units=amount, currency=currency),
    )


def _pairs(accounts: Sequence[int], many: int) -> list[tuple[int, int]]:
    last = len(accounts)
    return [(accounts[n % last], accounts[(n + 1) % last]) for n in range(many)]


def _portions(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (items[at : at + A_CALL] for at in range(0, len(items), A_CALL))


def _texts(ids: Iterable[int]) -> list[str]:
    # JSON has integers of 64 bits as texts.
    return [str(one) for one in ids]
