"""Each call as a value: what to send, how to read the answer, how patiently to try.

Both clients send these; nothing here knows whether the caller waits or awaits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from paycore.client import model, replies, requests, rpcs
from paycore.client.retries import Patience
from paycore.client.rpcs import Rpc
from paycore.domain.accounts import AccountStatus
from paycore.domain.identifiers import ExternalIdentifier
from paycore.v1 import account_service_pb2, history_service_pb2, transfer_service_pb2

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    """One request. `repeatable` tells that doing it twice is doing it once."""

    rpc: Rpc
    request: Message
    read: Callable[[Any], Answer]
    patience: Patience = Patience.ORDINARY
    repeatable: bool = True
    idempotency_key: str | None = None


def create_account(account: model.NewAccount, key: str) -> Call[model.AccountReceipt]:
    return Call(
        rpcs.CREATE_ACCOUNT,
        requests.create_account(account, key),
        partial(replies.account_receipt, key=key),
        idempotency_key=key,
    )


def create_accounts(
    wanted: list[tuple[str, account_service_pb2.CreateAccountRequest]],
) -> Call[list[model.AccountReceipt | model.RefusedItem]]:
    return Call(
        rpcs.CREATE_ACCOUNTS,
        account_service_pb2.CreateAccountsRequest(accounts=[request for _, request in wanted]),
        partial(replies.account_outcomes, keys=[key for key, _ in wanted]),
        Patience.BULK,
    )


def get_account(account: model.AccountName) -> Call[model.Account]:
    return Call(
        rpcs.GET_ACCOUNT,
        requests.get_account(account),
        lambda reply: replies.account(reply.account),
    )


def set_account_status(
    account: model.AccountName,
    status: AccountStatus,
    reason: str,
    expected_revision: int | None,
    actor: model.Actor | None,
    key: str,
) -> Call[model.AccountReceipt]:
    return Call(
        rpcs.SET_ACCOUNT_STATUS,
        requests.set_account_status(account, status, reason, expected_revision, actor, key),
        partial(replies.account_receipt, key=key),
        idempotency_key=key,
    )


def set_overdraft_limit(
    account: model.AccountName,
    limit: int,
    reason: str,
    expected_revision: int | None,
    actor: model.Actor | None,
    key: str,
) -> Call[model.AccountReceipt]:
    return Call(
        rpcs.SET_OVERDRAFT_LIMIT,
        requests.set_overdraft_limit(account, limit, reason, expected_revision, actor, key),
        partial(replies.account_receipt, key=key),
        idempotency_key=key,
    )


def erase_subject(subject: str, reason: str, actor: model.Actor | None) -> Call[model.Erasure]:
    return Call(
        rpcs.ERASE_SUBJECT,
        requests.erase_subject(subject, reason, actor),
        replies.erasure,
        Patience.BULK,
    )


def link_identifier(
    account: int, identifier: ExternalIdentifier, actor: model.Actor | None, key: str
) -> Call[model.AccountReceipt]:
    return Call(
        rpcs.LINK_EXTERNAL_IDENTIFIER,
        requests.link_identifier(account, identifier, actor, key),
        partial(replies.account_receipt, key=key),
        idempotency_key=key,
    )


def resolve_identifier(identifier: ExternalIdentifier) -> Call[int]:
    return Call(
        rpcs.RESOLVE_EXTERNAL_IDENTIFIER,
        account_service_pb2.ResolveExternalIdentifierRequest(
            identifier=requests.external_identifier(identifier)
        ),
        replies.resolved,
    )


def submit_transfer(
    order: model.TransferOrder, key: str, proof: model.StepUpProof | None
) -> Call[model.TransferReceipt]:
    return _posting(rpcs.SUBMIT_TRANSFER, requests.submit_transfer(order, key, proof), key, proof)


def submit_transfers(
    wanted: list[tuple[str, transfer_service_pb2.SubmitTransferRequest]],
) -> Call[list[model.TransferReceipt | model.RefusedItem]]:
    return Call(
        rpcs.SUBMIT_TRANSFERS,
        transfer_service_pb2.SubmitTransfersRequest(transfers=[request for _, request in wanted]),
        partial(replies.transfer_outcomes, keys=[key for key, _ in wanted]),
        Patience.BULK,
    )


def submit_transfer_group(
    orders: Sequence[model.TransferOrder],
    actor: model.Actor | None,
    key: str,
    proofs: Mapping[int, model.StepUpProof],
) -> Call[model.GroupReceipt]:
    return Call(
        rpcs.SUBMIT_TRANSFER_GROUP,
        requests.submit_transfer_group(orders, actor, key, proofs),
        partial(replies.group_receipt, key=key, items=len(orders)),
        Patience.BULK,
        idempotency_key=key,
    )


def hold_funds(
    order: model.HoldOrder, key: str, proof: model.StepUpProof | None
) -> Call[model.TransferReceipt]:
    return _posting(rpcs.HOLD_FUNDS, requests.hold_funds(order, key, proof), key, proof)


def capture_hold(
    hold: int, amount: model.Money | None, final: bool, note: model.Note, key: str
) -> Call[model.TransferReceipt]:
    request = requests.capture_hold(hold, amount, final, note, key)
    return _posting(rpcs.CAPTURE_HOLD, request, key)


def release_hold(hold: int, note: model.Note, key: str) -> Call[model.TransferReceipt]:
    return _posting(rpcs.RELEASE_HOLD, requests.release_hold(hold, note, key), key)


def refund_transfer(
    transfer: int, amount: model.Money | None, note: model.Note, key: str
) -> Call[model.TransferReceipt]:
    request = requests.refund_transfer(transfer, amount, note, key)
    return _posting(rpcs.REFUND_TRANSFER, request, key)


def reverse_transfer(
    transfer: int, reason: str, reference: str, actor: model.Actor | None, key: str
) -> Call[model.TransferReceipt]:
    request = requests.reverse_transfer(transfer, reason, reference, actor, key)
    return _posting(rpcs.REVERSE_TRANSFER, request, key)


def approve_review(
    transfer: int, reason: str, actor: model.Actor | None, key: str
) -> Call[model.TransferReceipt]:
    request = requests.approve_review(transfer, reason, actor, key)
    return _posting(rpcs.APPROVE_REVIEW, request, key)


def refuse_review(
    transfer: int, reason: str, actor: model.Actor | None, key: str
) -> Call[model.TransferReceipt]:
    request = requests.refuse_review(transfer, reason, actor, key)
    return _posting(rpcs.REFUSE_REVIEW, request, key)


def _posting(
    rpc: Rpc, request: Message, key: str, proof: model.StepUpProof | None = None
) -> Call[model.TransferReceipt]:
    """A command that posts one transfer."""
    return Call(
        rpc,
        request,
        partial(replies.transfer_receipt, key=key),
        Patience.ORDINARY if proof is None else Patience.STEP_UP,
        idempotency_key=key,
    )


def lookup_transfer(key: str) -> Call[model.TransferReceipt | model.RefusedItem]:
    return Call(
        rpcs.LOOKUP_TRANSFER,
        transfer_service_pb2.LookupTransferRequest(idempotency_key=key),
        partial(replies.looked_up, key=key),
    )


def lookup_transfers(
    reference: str,
) -> Call[tuple[model.TransferReceipt | model.RefusedItem, ...]]:
    return Call(
        rpcs.LOOKUP_TRANSFER,
        transfer_service_pb2.LookupTransferRequest(reference=reference),
        replies.looked_up_all,
    )


def get_transfer(transfer: int, min_position: str) -> Call[model.TransferView]:
    return Call(
        rpcs.GET_TRANSFER,
        history_service_pb2.GetTransferRequest(transfer_id=transfer, min_position=min_position),
        replies.transfer_view,
    )


def list_transfers(
    wanted: model.TransferFilter,
    page_size: int,
    page_token: str,
    min_position: str,
    *,
    include_total: bool,
) -> Call[model.TransferPage]:
    return Call(
        rpcs.LIST_TRANSFERS,
        requests.list_transfers(
            wanted, page_size, page_token, min_position, include_total=include_total
        ),
        replies.transfer_page,
    )


def get_balance(
    account: model.AccountName, at: datetime | None, min_position: str
) -> Call[model.Balance]:
    return Call(
        rpcs.GET_BALANCE,
        requests.get_balance(account, at, min_position),
        replies.balance,
    )
