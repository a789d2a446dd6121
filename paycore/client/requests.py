"""From the client's values to protobuf messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from paycore.client import model
from paycore.domain.accounts import AccountStatus
from paycore.domain.device_key import DeviceSignature
from paycore.domain.identifiers import ExternalIdentifier
from paycore.domain.pin import SealedPin
from paycore.domain.transfers import TransferKind
from paycore.runtime.account_names import ACCOUNT, COUNTERPARTY, CREDIT, DEBIT, Named
from paycore.v1 import (
    account_pb2,
    account_service_pb2,
    actor_pb2,
    analytics_service_pb2,
    history_service_pb2,
    money_pb2,
    personal_data_service_pb2,
    step_up_pb2,
    transfer_pb2,
    transfer_service_pb2,
)


def timestamp(moment: datetime) -> Timestamp:
    """`moment` to the microsecond. Raises ValueError where it has no time zone."""
    if moment.tzinfo is None:
        raise ValueError(f"a time without a zone is ambiguous: {moment}")
    message = Timestamp()
    message.FromDatetime(moment.astimezone(UTC))
    return message


def optional_timestamp(moment: datetime | None) -> Timestamp | None:
    """The same, or None for none."""
    return None if moment is None else timestamp(moment)


def kind_value(kind: TransferKind) -> transfer_pb2.TransferKind.ValueType:
    """`kind` as messages name it."""
    return transfer_pb2.TransferKind.Value(f"TRANSFER_KIND_{kind.name}")


def _actor(actor: model.Actor | None) -> actor_pb2.Actor | None:
    if actor is None:
        return None
    return actor_pb2.Actor(
        user_id=actor.user_id, device_id=actor.device_id, ip_address=actor.ip_address
    )


def account_field(place: Named, name: model.AccountName) -> dict[str, Any]:
    """The field of `place` that names the account."""
    if isinstance(name, ExternalIdentifier):
        return {place.by_identifier: external_identifier(name)}
    return {place.by_id: name}


def external_identifier(name: ExternalIdentifier) -> account_pb2.ExternalIdentifier:
    return account_pb2.ExternalIdentifier(scheme=name.scheme, value=name.value)


def get_account(account: model.AccountName) -> account_service_pb2.GetAccountRequest:
    return account_service_pb2.GetAccountRequest(**account_field(ACCOUNT, account))


def create_account(account: model.NewAccount, key: str) -> account_service_pb2.CreateAccountRequest:
    return account_service_pb2.CreateAccountRequest(
        idempotency_key=key,
        owner=account.owner,
        institution=account.institution,
        currency=account.currency,
        kind=account_pb2.AccountKind.Value(f"ACCOUNT_KIND_{account.kind.name}"),
        overdraft_limit_minor_units=account.overdraft_limit,
        metadata=account.metadata,
        actor=_actor(account.actor),
    )


def set_account_status(
    account: model.AccountName,
    status: AccountStatus,
    reason: str,
    expected_revision: int | None,
    actor: model.Actor | None,
    key: str,
) -> account_service_pb2.SetAccountStatusRequest:
    return account_service_pb2.SetAccountStatusRequest(
        idempotency_key=key,
        **account_field(ACCOUNT, account),
        status=account_pb2.AccountStatus.Value(f"ACCOUNT_STATUS_{status.name}"),
        expected_revision=expected_revision,
        reason=reason,
        actor=_actor(actor),
    )


def set_overdraft_limit(
    account: model.AccountName,
    limit: int,
    reason: str,
    expected_revision: int | None,
    actor: model.Actor | None,
    key: str,
) -> account_service_pb2.SetOverdraftLimitRequest:
    return account_service_pb2.SetOverdraftLimitRequest(
        idempotency_key=key,
        **account_field(ACCOUNT, account),
        overdraft_limit_minor_units=limit,
        expected_revision=expected_revision,
        reason=reason,
        actor=_actor(actor),
    )


def erase_subject(
    subject: str, reason: str, actor: model.Actor | None
) -> personal_data_service_pb2.EraseSubjectRequest:
    return personal_data_service_pb2.EraseSubjectRequest(
        subject=subject, reason=reason, actor=_actor(actor)
    )


def link_identifier(
    account: int, identifier: ExternalIdentifier, actor: model.Actor | None, key: str
) -> account_service_pb2.LinkExternalIdentifierRequest:
    return account_service_pb2.LinkExternalIdentifierRequest(
        idempotency_key=key,
        account_id=account,
        identifier=external_identifier(identifier),
        actor=_actor(actor),
    )


def submit_transfer(
    order: model.TransferOrder, key: str, proof: model.StepUpProof | None
) -> transfer_service_pb2.SubmitTransferRequest:
    return transfer_service_pb2.SubmitTransferRequest(
        idempotency_key=key,
        kind=kind_value(order.kind),
        **account_field(DEBIT, order.debit_account),
        **account_field(CREDIT, order.credit_account),
        amount=_money(order.amount),
        reference=order.reference,
        description=order.description,
        metadata=order.metadata,
        actor=_actor(order.actor),
        effective_time=optional_timestamp(order.effective_at),
        step_up=_step_up(proof),
        expected_debit_version=order.expected_debit_version,
        expected_credit_version=order.expected_credit_version,
    )


def _money(amount: model.Money | None) -> money_pb2.Money | None:
    if amount is None:
        return None
    return money_pb2.Money(minor_units=amount.minor_units, currency=amount.currency)


def submit_transfer_group(
    orders: Sequence[model.TransferOrder],
    actor: model.Actor | None,
    key: str,
    proofs: Mapping[int, model.StepUpProof],
) -> transfer_service_pb2.SubmitTransferGroupRequest:
    """Raises ValueError where an item has a key or an actor: these are the group's."""
    request = transfer_service_pb2.SubmitTransferGroupRequest(
        idempotency_key=key, actor=_actor(actor)
    )
    for payer, proof in proofs.items():
        request.step_ups.add(payer_account_id=payer, step_up=_step_up(proof))
    for order in orders:
        if order.idempotency_key is not None or order.actor is not None:
            raise ValueError("key and actor are given for a group, not for its items")
        request.transfers.add(
            kind=kind_value(order.kind),
            **account_field(DEBIT, order.debit_account),
            **account_field(CREDIT, order.credit_account),
            amount=_money(order.amount),
            reference=order.reference,
            description=order.description,
            metadata=order.metadata,
            effective_time=optional_timestamp(order.effective_at),
            expected_debit_version=order.expected_debit_version,
            expected_credit_version=order.expected_credit_version,
        )
    return request


def hold_funds(
    order: model.HoldOrder, key: str, proof: model.StepUpProof | None
) -> transfer_service_pb2.HoldFundsRequest:
    return transfer_service_pb2.HoldFundsRequest(
        idempotency_key=key,
        **account_field(DEBIT, order.debit_account),
        **account_field(CREDIT, order.credit_account),
        amount=_money(order.amount),
        expire_time=timestamp(order.expires_at),
        reference=order.reference,
        description=order.description,
        metadata=order.metadata,
        actor=_actor(order.actor),
        effective_time=optional_timestamp(order.effective_at),
        step_up=_step_up(proof),
        expected_debit_version=order.expected_debit_version,
    )


def capture_hold(
    hold: int, amount: model.Money | None, final: bool, note: model.Note, key: str
) -> transfer_service_pb2.CaptureHoldRequest:
    return transfer_service_pb2.CaptureHoldRequest(
        idempotency_key=key,
        hold_id=hold,
        amount=_money(amount),
        final=final,
        reference=note.reference,
        description=note.description,
        metadata=note.metadata,
        actor=_actor(note.actor),
    )


def release_hold(hold: int, note: model.Note, key: str) -> transfer_service_pb2.ReleaseHoldRequest:
    """Raises ValueError for metadata, which a release has none of."""
    if note.metadata:
        raise ValueError("a release has no metadata")
    return transfer_service_pb2.ReleaseHoldRequest(
        idempotency_key=key,
        hold_id=hold,
        reference=note.reference,
        description=note.description,
        actor=_actor(note.actor),
    )


def refund_transfer(
    transfer: int, amount: model.Money | None, note: model.Note, key: str
) -> transfer_service_pb2.RefundTransferRequest:
    return transfer_service_pb2.RefundTransferRequest(
        idempotency_key=key,
        transfer_id=transfer,
        amount=_money(amount),
        reference=note.reference,
        description=note.description,
        metadata=note.metadata,
        actor=_actor(note.actor),
    )


def reverse_transfer(
    transfer: int, reason: str, reference: str, actor: model.Actor | None, key: str
) -> transfer_service_pb2.ReverseTransferRequest:
    return transfer_service_pb2.ReverseTransferRequest(
        idempotency_key=key,
        transfer_id=transfer,
        reason=reason,
        reference=reference,
        actor=_actor(actor),
    )


def approve_review(
    transfer: int, reason: str, actor: model.Actor | None, key: str
) -> transfer_service_pb2.ApproveReviewRequest:
    return transfer_service_pb2.ApproveReviewRequest(
        idempotency_key=key, transfer_id=transfer, reason=reason, actor=_actor(actor)
    )


def refuse_review(
    transfer: int, reason: str, actor: model.Actor | None, key: str
) -> transfer_service_pb2.RefuseReviewRequest:
    return transfer_service_pb2.RefuseReviewRequest(
        idempotency_key=key, transfer_id=transfer, reason=reason, actor=_actor(actor)
    )


def _step_up(proof: model.StepUpProof | None) -> step_up_pb2.StepUp | None:
    if proof is None:
        return None
    message = step_up_pb2.StepUp()
    message.sign_time.FromMicroseconds(proof.signed_at_us)
    match proof.approval:
        case SealedPin():
            message.sealed_pin.CopyFrom(sealed_pin(proof.approval))
        case DeviceSignature(device_id, signature):
            message.device_signature.device_id = device_id
            message.device_signature.signature = signature
    return message


def sealed_pin(sealed: SealedPin) -> step_up_pb2.SealedPin:
    return step_up_pb2.SealedPin(key_id=sealed.key_id, ciphertext=sealed.ciphertext)


def list_transfers(
    wanted: model.TransferFilter,
    page_size: int,
    page_token: str,
    min_position: str,
    *,
    include_total: bool,
) -> history_service_pb2.ListTransfersRequest:
    return history_service_pb2.ListTransfersRequest(
        **account_field(ACCOUNT, wanted.account),
        start_time=optional_timestamp(wanted.start),
        end_time=optional_timestamp(wanted.end),
        kinds=[kind_value(kind) for kind in wanted.kinds],
        **({} if wanted.counterparty is None else account_field(COUNTERPARTY, wanted.counterparty)),
        min_minor_units=wanted.min_amount,
        max_minor_units=wanted.max_amount,
        reference=wanted.reference,
        include_declines=wanted.include_declines,
        page_size=page_size,
        page_token=page_token,
        min_position=min_position,
        include_total=include_total,
    )


def transfer_volume(
    start: datetime,
    end: datetime,
    interval: model.Interval,
    currency: str,
    kinds: tuple[TransferKind, ...],
    min_position: str,
) -> analytics_service_pb2.TransferVolumeRequest:
    return analytics_service_pb2.TransferVolumeRequest(
        start_time=timestamp(start),
        end_time=timestamp(end),
        interval=interval_number(interval),
        currency=currency,
        kinds=[kind_value(kind) for kind in kinds],
        min_position=min_position,
    )


def get_balance(
    account: model.AccountName, at: datetime | None, min_position: str
) -> history_service_pb2.GetBalanceRequest:
    return history_service_pb2.GetBalanceRequest(
        **account_field(ACCOUNT, account),
        at_time=optional_timestamp(at),
        min_position=min_position,
    )


def top_counterparties(
    account: model.AccountName,
    start: datetime | None,
    end: datetime | None,
    limit: int,
    min_position: str,
) -> analytics_service_pb2.TopCounterpartiesRequest:
    return analytics_service_pb2.TopCounterpartiesRequest(
        **account_field(ACCOUNT, account),
        start_time=optional_timestamp(start),
        end_time=optional_timestamp(end),
        limit=limit,
        min_position=min_position,
    )


def interval_number(
    width: model.Interval | None,
) -> analytics_service_pb2.VolumeInterval.ValueType:
    if width is None:
        return analytics_service_pb2.VOLUME_INTERVAL_UNSPECIFIED
    return analytics_service_pb2.VolumeInterval.Value(f"VOLUME_INTERVAL_{width.name}")


def times(start: datetime | None, end: datetime | None) -> dict[str, Any]:
    return {"start_time": optional_timestamp(start), "end_time": optional_timestamp(end)}


def optional_account(account: model.AccountName | None) -> dict[str, Any]:
    return {} if account is None else account_field(ACCOUNT, account)
