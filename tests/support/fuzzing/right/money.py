"""Right requests that open accounts and move money."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from paycore.domain.step_up import PaymentIntent, payment_digest
from paycore.v1 import account_pb2, actor_pb2, money_pb2, step_up_pb2, transfer_pb2
from paycore.v1 import account_service_pb2 as accounts
from paycore.v1 import transfer_service_pb2 as transfers
from tests.support.callers import opening, payment
from tests.support.fuzzing.right.world import Right, World

ABOVE_THRESHOLD = 150_000
"""Minor units that the local stack's policy has payers of `app` approve."""

SCHEME = "stripe"


def _money(amount: int) -> money_pb2.Money:
    return money_pb2.Money(minor_units=amount, currency="EUR")


def _actor(world: World) -> actor_pb2.Actor:
    rng = world.rng
    return actor_pb2.Actor(
        user_id=f"fuzz-actor-{rng.randrange(1_000)}",
        device_id=f"fuzz-device-{rng.randrange(1_000)}",
        ip_address=f"10.{rng.randrange(256)}.{rng.randrange(256)}.7",
    )


async def create_account(world: World, client: str) -> Any:
    return opening(idempotency_key=world.new("key"), metadata={"colour": "blue"})


async def create_accounts(world: World, client: str) -> Any:
    many = world.rng.choice((1, 2, 5))
    return accounts.CreateAccountsRequest(
        accounts=[opening(idempotency_key=world.new("key")) for _ in range(many)]
    )


async def get_account(world: World, client: str) -> Any:
    books = world.books.get(client) or world.books["app"]
    return accounts.GetAccountRequest(account_id=world.rng.choice(books.accounts))


def _spare(world: World) -> int:
    return int(world.one_of(world.books["app"].spare))


async def set_account_status(world: World, client: str) -> Any:
    return accounts.SetAccountStatusRequest(
        idempotency_key=world.new("key"),
        account_id=_spare(world),
        status=world.rng.choice(
            (account_pb2.ACCOUNT_STATUS_ACTIVE, account_pb2.ACCOUNT_STATUS_FROZEN)
        ),
        reason="asked for",
    )


async def set_overdraft_limit(world: World, client: str) -> Any:
    return accounts.SetOverdraftLimitRequest(
        idempotency_key=world.new("key"),
        account_id=_spare(world),
        overdraft_limit_minor_units=world.rng.randrange(1_000),
        reason="asked for",
    )


async def link(world: World, client: str) -> Any:
    """Each account gets a name once."""
    return accounts.LinkExternalIdentifierRequest(
        idempotency_key=world.new("key"),
        account_id=world.books[client].spare.pop(),
        identifier=account_pb2.ExternalIdentifier(scheme=SCHEME, value=world.new("name")),
    )


async def resolve(world: World, client: str) -> Any:
    books = world.books.get(client) or world.books["app"]
    identifier = account_pb2.ExternalIdentifier(scheme=SCHEME, value=world.one_of(books.names))
    return accounts.ResolveExternalIdentifierRequest(identifier=identifier)


async def submit(world: World, client: str) -> Any:
    """Between accounts, in, out, or approved by a payer's device."""
    if client == "app" and world.rng.random() < 0.3:
        return _approved(world, client)
    return _plain(world, client)


def _plain(world: World, client: str) -> transfers.SubmitTransferRequest:
    rng, external = world.rng, world.books[client].external
    debit, credit = world.two_of(client)
    kind = transfer_pb2.TRANSFER_KIND_TRANSFER
    match rng.randrange(6):
        case 0:
            kind, debit = transfer_pb2.TRANSFER_KIND_DEPOSIT, external
        case 1:
            kind, credit = transfer_pb2.TRANSFER_KIND_WITHDRAWAL, external
        case _:
            pass
    request = payment(
        debit,
        credit,
        rng.randint(1, 300),
        kind=kind,
        idempotency_key=world.new("key"),
        reference=f"fuzz-{rng.randrange(50)}",
        description="for tea",
        metadata={"order": "7"},
        actor=_actor(world),
    )
    request.effective_time.FromSeconds(int(time.time()))
    return request


def _approved(world: World, client: str) -> transfers.SubmitTransferRequest:
    books = world.books[client]
    intent = PaymentIntent(
        kind="TRANSFER",
        debit_account=books.approving,
        credit_account=world.rng.choice(books.accounts),
        amount=ABOVE_THRESHOLD,
        currency="EUR",
        client=client,
        idempotency_key=world.new("key"),
        signed_at_us=time.time_ns() // 1_000,
    )
    step_up = step_up_pb2.StepUp(
        device_signature=step_up_pb2.DeviceSignature(
            device_id=world.owner.device_id,
            signature=world.owner.key.sign(payment_digest(intent)),
        )
    )
    step_up.sign_time.FromMicroseconds(intent.signed_at_us)
    return payment(
        intent.debit_account,
        intent.credit_account,
        intent.amount,
        idempotency_key=intent.idempotency_key,
        step_up=step_up,
    )


async def submit_many(world: World, client: str) -> Any:
    many = world.rng.choice((1, 3, 10))
    return transfers.SubmitTransfersRequest(transfers=[_plain(world, client) for _ in range(many)])


async def stream(world: World, client: str) -> Any:
    many = world.rng.choice((1, 3))
    return transfers.StreamTransfersRequest(transfers=[_plain(world, client) for _ in range(many)])


async def submit_group(world: World, client: str) -> Any:
    legs = []
    for _ in range(world.rng.choice((1, 2, 5))):
        debit, credit = world.two_of(client)
        legs.append(
            transfers.GroupedTransfer(
                kind=transfer_pb2.TRANSFER_KIND_TRANSFER,
                debit_account_id=debit,
                credit_account_id=credit,
                amount=_money(world.rng.randint(1, 300)),
            )
        )
    return transfers.SubmitTransferGroupRequest(
        idempotency_key=world.new("key"), transfers=legs, actor=_actor(world)
    )


async def hold(world: World, client: str) -> Any:
    debit, credit = world.two_of(client)
    request = transfers.HoldFundsRequest(
        idempotency_key=world.new("key"),
        debit_account_id=debit,
        credit_account_id=credit,
        amount=_money(100),
    )
    request.expire_time.FromSeconds(int(time.time()) + 3_600)
    return request


async def capture(world: World, client: str) -> Any:
    return transfers.CaptureHoldRequest(
        idempotency_key=world.new("key"),
        hold_id=world.books[client].holds.pop(),
        amount=_money(world.rng.randint(1, 100)),
    )


async def release(world: World, client: str) -> Any:
    return transfers.ReleaseHoldRequest(
        idempotency_key=world.new("key"), hold_id=world.books[client].holds.pop()
    )


async def refund(world: World, client: str) -> Any:
    return transfers.RefundTransferRequest(
        idempotency_key=world.new("key"),
        transfer_id=world.one_of(world.books[client].payments),
        amount=_money(1),
    )


async def reverse(world: World, client: str) -> Any:
    books = world.books.get(client) or world.books["app"]
    return transfers.ReverseTransferRequest(
        idempotency_key=world.new("key"), transfer_id=books.payments.pop(), reason="paid twice"
    )


async def approve(world: World, client: str) -> Any:
    return transfers.ApproveReviewRequest(
        idempotency_key=world.new("key"), transfer_id=world.one_of(world.reviews), reason="called"
    )


async def refuse(world: World, client: str) -> Any:
    return transfers.RefuseReviewRequest(
        idempotency_key=world.new("key"), transfer_id=world.one_of(world.reviews), reason="called"
    )


async def lookup(world: World, client: str) -> Any:
    books = world.books.get(client)
    if books is None or world.rng.random() < 0.5:
        return transfers.LookupTransferRequest(reference=f"fuzz-{world.rng.randrange(50)}")
    return transfers.LookupTransferRequest(idempotency_key=world.one_of(books.keys))


def _opened(world: World, client: str, _: Any, reply: Any) -> None:
    made = [reply.account] if hasattr(reply, "account") else [o.account for o in reply.outcomes]
    world.books[client].spare.extend(account.id for account in made if account.id)


def _linked(world: World, client: str, request: Any, _: Any) -> None:
    world.books[client].names.append(request.identifier.value)


def _held(world: World, client: str, _: Any, reply: Any) -> None:
    world.books[client].holds.append(reply.transfer.id)


def _paid(world: World, client: str, request: Any, reply: Any) -> None:
    books = world.books[client]
    if request.kind == transfer_pb2.TRANSFER_KIND_TRANSFER:
        books.payments.append(reply.transfer.id)
    books.keys.append(request.idempotency_key)


def _reviewed(world: World, _: str, request: Any, __: Any) -> None:
    if request.transfer_id in world.reviews:
        world.reviews.remove(request.transfer_id)


def _paid_many(world: World, client: str, _: Any, reply: Any) -> None:
    world.books[client].payments.extend(
        outcome.transfer.id
        for outcome in reply.outcomes
        if outcome.transfer.kind == transfer_pb2.TRANSFER_KIND_TRANSFER
    )


MONEY: Mapping[str, Right] = {
    "AccountService/CreateAccount": Right(create_account, _opened),
    "AccountService/CreateAccounts": Right(create_accounts, _opened),
    "AccountService/GetAccount": Right(get_account),
    "AccountService/SetAccountStatus": Right(set_account_status),
    "AccountService/SetOverdraftLimit": Right(set_overdraft_limit),
    "AccountService/LinkExternalIdentifier": Right(link, _linked),
    "AccountService/ResolveExternalIdentifier": Right(resolve),
    "TransferService/SubmitTransfer": Right(submit, _paid),
    "TransferService/SubmitTransfers": Right(submit_many, _paid_many),
    "TransferService/SubmitTransferGroup": Right(submit_group),
    "TransferService/StreamTransfers": Right(stream, _paid_many),
    "TransferService/HoldFunds": Right(hold, _held),
    "TransferService/CaptureHold": Right(capture),
    "TransferService/ReleaseHold": Right(release),
    "TransferService/RefundTransfer": Right(refund),
    "TransferService/ReverseTransfer": Right(reverse),
    "TransferService/ApproveReview": Right(approve, _reviewed),
    "TransferService/RefuseReview": Right(refuse, _reviewed),
    "TransferService/LookupTransfer": Right(lookup),
}
