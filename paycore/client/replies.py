"""From protobuf messages to the client's values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import status_pb2

from paycore.client import model
from paycore.client.errors import RefusedError, UnexpectedReplyError, refusal
from paycore.domain.accounts import AccountKind, AccountStatus
from paycore.domain.sealed import Unreadable
from paycore.domain.transfers import StepUpBasis, TransferKind, TransferState
from paycore.runtime.errors import from_status
from paycore.signing.v1 import signing_service_pb2
from paycore.v1 import (
    account_pb2,
    account_service_pb2,
    actor_pb2,
    analytics_service_pb2,
    freshness_pb2,
    history_service_pb2,
    money_pb2,
    personal_data_service_pb2,
    transfer_pb2,
    transfer_service_pb2,
)

_Name = TypeVar("_Name", bound=StrEnum)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _names(enum: Any, prefix: str, names: type[_Name]) -> dict[int, _Name]:
    wrapper: EnumTypeWrapper = enum
    return {wrapper.Value(prefix + name.name): name for name in names}


_ACCOUNT_KINDS = _names(account_pb2.AccountKind, "ACCOUNT_KIND_", AccountKind)
_ACCOUNT_STATUSES = _names(account_pb2.AccountStatus, "ACCOUNT_STATUS_", AccountStatus)
_TRANSFER_KINDS = _names(transfer_pb2.TransferKind, "TRANSFER_KIND_", TransferKind)
_DETAILS_STATES = _names(transfer_pb2.DetailsState, "DETAILS_STATE_", Unreadable)
_TRANSFER_STATES = _names(transfer_pb2.TransferState, "TRANSFER_STATE_", TransferState)
_STEP_UP_BASES = _names(transfer_pb2.StepUpBasis, "STEP_UP_BASIS_", StepUpBasis)
_KEY_PURPOSES = _names(signing_service_pb2.KeyPurpose, "KEY_PURPOSE_", model.KeyPurpose)


def _named(table: Mapping[int, _Name], number: int) -> _Name:
    try:
        return table[number]
    except KeyError as error:
        kind = type(next(iter(table.values()))).__name__
        raise UnexpectedReplyError(f"{kind} has no number {number}") from error


def instant(timestamp: Timestamp) -> datetime:
    """`timestamp` to the microsecond, in UTC."""
    return _EPOCH + timedelta(seconds=timestamp.seconds, microseconds=timestamp.nanos // 1_000)


def transfer_kind(number: int) -> TransferKind:
    return _named(_TRANSFER_KINDS, number)


def money(message: money_pb2.Money) -> model.Money:
    return model.Money(message.minor_units, message.currency)


def account(message: account_pb2.Account) -> model.Account:
    return model.Account(
        id=message.id,
        owner=message.owner,
        institution=message.institution,
        currency=message.currency,
        kind=_named(_ACCOUNT_KINDS, message.kind),
        status=_named(_ACCOUNT_STATUSES, message.status),
        balance=message.balance_minor_units,
        held=message.held_minor_units,
        overdraft_limit=message.overdraft_limit_minor_units,
        available=message.available_minor_units,
        version=message.version,
        revision=message.revision,
        opened_by=message.opened_by,
        created_at=instant(message.create_time),
        metadata=dict(message.metadata),
    )


def resolved(message: account_service_pb2.ResolveExternalIdentifierResponse) -> int:
    return message.account_id


def _actor(message: actor_pb2.Actor) -> model.Actor:
    return model.Actor(message.user_id, message.device_id, message.ip_address)


def _figure(message: Any, field: str) -> int | None:
    # Any: the stubs list the literals that HasField takes.
    value: int = getattr(message, field)
    return value if message.HasField(field) else None


def transfer(message: transfer_pb2.Transfer) -> model.Transfer:
    failed = message.state == transfer_pb2.TRANSFER_STATE_FAILED
    no_basis = message.step_up_basis == transfer_pb2.STEP_UP_BASIS_UNSPECIFIED
    return model.Transfer(
        id=message.id,
        kind=_named(_TRANSFER_KINDS, message.kind),
        state=_named(_TRANSFER_STATES, message.state),
        debit_account=message.debit_account_id,
        credit_account=message.credit_account_id,
        amount=money(message.amount),
        debit_version=message.debit_version,
        credit_version=message.credit_version,
        debit_balance_after=_figure(message, "debit_balance_after"),
        credit_balance_after=_figure(message, "credit_balance_after"),
        client=message.client,
        reference=message.reference,
        # A refusal was let through on no ground.
        step_up_basis=(
            None if failed and no_basis else _named(_STEP_UP_BASES, message.step_up_basis)
        ),
        authorization_id=message.authorization_id or None,
        created_at=instant(message.create_time),
        effective_at=(
            instant(message.effective_time) if message.HasField("effective_time") else None
        ),
        description=message.description,
        metadata=dict(message.metadata),
        actor=_actor(message.actor) if message.HasField("actor") else None,
        decline=(
            model.Decline(message.decline.reason, dict(message.decline.metadata))
            if message.HasField("decline")
            else None
        ),
        debit_held_after=_figure(message, "debit_held_after"),
        remaining=_figure(message, "remaining_minor_units"),
        parent_id=message.parent_id or None,
        parent_sequence=message.parent_sequence or None,
        parent_remaining=_figure(message, "parent_remaining_minor_units"),
        parent_state=(
            _named(_TRANSFER_STATES, message.parent_state)
            if message.parent_state != transfer_pb2.TRANSFER_STATE_UNSPECIFIED
            else None
        ),
        released=_figure(message, "released_minor_units"),
        expires_at=instant(message.expire_time) if message.HasField("expire_time") else None,
        group_id=message.group_id or None,
        review_rule=message.review_rule,
        unreadable=(
            _named(_DETAILS_STATES, message.details_state)
            if message.details_state != transfer_pb2.DETAILS_STATE_UNSPECIFIED
            else None
        ),
    )


def _error(status: status_pb2.Status) -> RefusedError:
    carried = from_status(status)
    if carried is None:
        raise UnexpectedReplyError(f"an outcome without a reason: {status.message}")
    return refusal(carried)


def erasure(message: personal_data_service_pb2.EraseSubjectResponse) -> model.Erasure:
    return model.Erasure(
        instant(message.erase_time),
        message.destroyed_keys,
        message.cleared_accounts,
        message.position,
    )


def account_receipt(
    message: account_service_pb2.CreateAccountResponse
    | account_service_pb2.SetAccountStatusResponse
    | account_service_pb2.SetOverdraftLimitResponse
    | account_service_pb2.LinkExternalIdentifierResponse,
    key: str,
) -> model.AccountReceipt:
    return model.AccountReceipt(account(message.account), key, message.position, message.replayed)


def account_outcomes(
    message: account_service_pb2.CreateAccountsResponse, keys: Sequence[str]
) -> list[model.AccountReceipt | model.RefusedItem]:
    _check_count(len(message.outcomes), len(keys))
    return [
        model.AccountReceipt(account(item.account), key, item.position, item.replayed)
        if item.HasField("account")
        else model.RefusedItem(_error(item.error), key, item.position, item.replayed)
        for item, key in zip(message.outcomes, keys, strict=True)
    ]


OneTransfer = (
    transfer_service_pb2.SubmitTransferResponse
    | transfer_service_pb2.HoldFundsResponse
    | transfer_service_pb2.CaptureHoldResponse
    | transfer_service_pb2.ReleaseHoldResponse
    | transfer_service_pb2.RefundTransferResponse
    | transfer_service_pb2.ReverseTransferResponse
    | transfer_service_pb2.ApproveReviewResponse
    | transfer_service_pb2.RefuseReviewResponse
)
"""The reply to every command that posts one transfer."""


def transfer_receipt(message: OneTransfer, key: str) -> model.TransferReceipt:
    return model.TransferReceipt(
        transfer(message.transfer), key, message.position, message.replayed
    )


def group_receipt(
    message: transfer_service_pb2.SubmitTransferGroupResponse, key: str, items: int
) -> model.GroupReceipt:
    _check_count(len(message.transfers), items)
    transfers = tuple(map(transfer, message.transfers))
    return model.GroupReceipt(message.group_id, transfers, key, message.position, message.replayed)


def transfer_outcome(
    item: transfer_pb2.TransferOutcome, key: str
) -> model.TransferReceipt | model.RefusedItem:
    if item.HasField("transfer"):
        return model.TransferReceipt(transfer(item.transfer), key, item.position, item.replayed)
    return model.RefusedItem(_error(item.error), key, item.position, item.replayed)


def transfer_outcomes(
    message: transfer_service_pb2.SubmitTransfersResponse, keys: Sequence[str]
) -> list[model.TransferReceipt | model.RefusedItem]:
    _check_count(len(message.outcomes), len(keys))
    return [transfer_outcome(item, key) for item, key in zip(message.outcomes, keys, strict=True)]


def looked_up(
    message: transfer_service_pb2.LookupTransferResponse, key: str
) -> model.TransferReceipt | model.RefusedItem:
    _check_count(len(message.outcomes), 1)
    return transfer_outcome(message.outcomes[0], key)


def looked_up_all(
    message: transfer_service_pb2.LookupTransferResponse,
) -> tuple[model.TransferReceipt | model.RefusedItem, ...]:
    # The reply to a look-up by reference does not repeat the keys.
    return tuple(transfer_outcome(item, "") for item in message.outcomes)


def _check_count(received: int, expected: int) -> None:
    if received != expected:
        raise UnexpectedReplyError(f"{received} outcomes for {expected} requests")


def details_state(number: int) -> Unreadable | None:
    if number == transfer_pb2.DETAILS_STATE_UNSPECIFIED:
        return None
    return _named(_DETAILS_STATES, number)


def span(duration: Duration) -> timedelta:
    return timedelta(seconds=duration.seconds, microseconds=duration.nanos // 1_000)


def freshness(message: freshness_pb2.Freshness) -> model.Freshness:
    return model.Freshness(
        message.source,
        message.position,
        span(message.lag) if message.HasField("lag") else None,
        instant(message.complete_from) if message.HasField("complete_from") else None,
    )


def transfer_view(message: history_service_pb2.GetTransferResponse) -> model.TransferView:
    return model.TransferView(transfer(message.transfer), freshness(message.freshness))


def transfer_page(message: history_service_pb2.ListTransfersResponse) -> model.TransferPage:
    return model.TransferPage(
        tuple(transfer(item) for item in message.transfers),
        message.next_page_token,
        freshness(message.freshness),
        total(message),
    )


def total(
    message: history_service_pb2.ListTransfersResponse
    | history_service_pb2.SearchTransfersResponse,
) -> model.TotalCount | None:
    if not message.HasField("total"):
        return None
    return model.TotalCount(message.total.count, message.total.at_least)


def balance(message: history_service_pb2.GetBalanceResponse) -> model.Balance:
    return model.Balance(
        account=message.account_id,
        balance=money(message.balance),
        held=message.held_minor_units,
        available=_figure(message, "available_minor_units"),
        version=message.version,
        freshness=freshness(message.freshness),
    )


def volume(message: analytics_service_pb2.TransferVolumeResponse) -> model.Volume:
    return model.Volume(
        tuple(
            model.VolumeBucket(
                start=instant(bucket.start_time),
                kind=_named(_TRANSFER_KINDS, bucket.kind),
                currency=bucket.currency,
                count=bucket.count,
                total=int(bucket.total_minor_units),
            )
            for bucket in message.buckets
        ),
        freshness(message.freshness),
    )


def counterparties(
    message: analytics_service_pb2.TopCounterpartiesResponse,
) -> model.Counterparties:
    return model.Counterparties(
        tuple(
            model.Counterparty(item.account_id, item.count, money(item.sent), money(item.received))
            for item in message.counterparties
        ),
        freshness(message.freshness),
    )


def public_keys(
    message: signing_service_pb2.GetPublicKeysResponse,
) -> tuple[model.PublicKey, ...]:
    return tuple(_public_keys(message.keys))


def _public_keys(keys: Iterable[signing_service_pb2.PublicKey]) -> Iterable[model.PublicKey]:
    for key in keys:
        yield model.PublicKey(
            key.key_id, _named(_KEY_PURPOSES, key.purpose), key.public_key, key.current
        )
