"""Every reason for which paycore refuses, and the one error class that carries it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from paycore.domain.identifiers import ExternalIdentifier


class Reason(StrEnum):
    """What callers switch on (google.rpc.ErrorInfo.reason, domain `paycore`; AIP-193)."""

    INVALID_FIELD = "INVALID_FIELD"
    DEADLINE_REQUIRED = "DEADLINE_REQUIRED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
    BALANCE_OVERFLOW = "BALANCE_OVERFLOW"
    ACCOUNT_NOT_FOUND = "ACCOUNT_NOT_FOUND"
    TRANSFER_NOT_FOUND = "TRANSFER_NOT_FOUND"
    ACCOUNT_FROZEN = "ACCOUNT_FROZEN"
    ACCOUNT_CLOSED = "ACCOUNT_CLOSED"
    ACCOUNT_KIND_MISMATCH = "ACCOUNT_KIND_MISMATCH"
    CURRENCY_MISMATCH = "CURRENCY_MISMATCH"
    SAME_ACCOUNT = "SAME_ACCOUNT"
    HOLD_NOT_OPEN = "HOLD_NOT_OPEN"
    EXCEEDS_REMAINING = "EXCEEDS_REMAINING"
    ILLEGAL_STATE = "ILLEGAL_STATE"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    VERSION_MISMATCH = "VERSION_MISMATCH"
    CONTENTION = "CONTENTION"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    NOT_PERMITTED = "NOT_PERMITTED"
    RISK_DECLINED = "RISK_DECLINED"
    STEP_UP_REQUIRED = "STEP_UP_REQUIRED"
    AUTHORIZATION_INVALID = "AUTHORIZATION_INVALID"
    AUTHORIZATION_EXPIRED = "AUTHORIZATION_EXPIRED"
    AUTHORIZATION_USED = "AUTHORIZATION_USED"
    PIN_INCORRECT = "PIN_INCORRECT"
    PIN_LOCKED = "PIN_LOCKED"
    PIN_ALREADY_ENROLLED = "PIN_ALREADY_ENROLLED"
    PIN_TOO_WEAK = "PIN_TOO_WEAK"
    DEVICE_NOT_FOUND = "DEVICE_NOT_FOUND"
    TOO_MANY_DEVICES = "TOO_MANY_DEVICES"
    SUBSCRIPTION_NOT_FOUND = "SUBSCRIPTION_NOT_FOUND"
    DELIVERY_NOT_FOUND = "DELIVERY_NOT_FOUND"
    TOO_MANY_SUBSCRIPTIONS = "TOO_MANY_SUBSCRIPTIONS"
    RATE_LIMITED = "RATE_LIMITED"
    OVERLOADED = "OVERLOADED"
    DATABASE_UNAVAILABLE = "DATABASE_UNAVAILABLE"
    SIGNER_UNAVAILABLE = "SIGNER_UNAVAILABLE"
    RISK_UNAVAILABLE = "RISK_UNAVAILABLE"
    INDEX_UNAVAILABLE = "INDEX_UNAVAILABLE"
    INDEX_BEHIND = "INDEX_BEHIND"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    WATCHER_BEHIND = "WATCHER_BEHIND"
    """Not asked for fast enough: go on from `resume_token`."""
    HISTORY_REPLACED = "HISTORY_REPLACED"
    """What was followed is no longer the ledger's history: start again from what it says now."""
    INTERNAL = "INTERNAL"


STORED_DECLINES = frozenset(
    {
        Reason.INSUFFICIENT_FUNDS,
        Reason.ACCOUNT_FROZEN,
        Reason.ACCOUNT_CLOSED,
        Reason.EXCEEDS_REMAINING,
        Reason.HOLD_NOT_OPEN,
        Reason.RISK_DECLINED,
    }
)
"""Refusals that the ledger remembers under their key; all others are decided afresh on retry."""

RETRYABLE = frozenset(
    {
        Reason.CONTENTION,
        Reason.DATABASE_UNAVAILABLE,
        Reason.SIGNER_UNAVAILABLE,
        Reason.RISK_UNAVAILABLE,
        Reason.INDEX_UNAVAILABLE,
        Reason.INDEX_BEHIND,
        Reason.SHUTTING_DOWN,
        Reason.WATCHER_BEHIND,
    }
)
"""Refusals that a client may try again with the same key, without asking anyone."""


class Remedy(StrEnum):
    """What the caller of a refused command can do about it: `remedy` in the metadata."""

    SEAL_ANEW = "SEAL_ANEW"
    """Have the PIN sealed once more, and send that under the same key: the sealed PIN that was sent
    has its verdict for good."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One bad field of a request: its path (`transfers[3].amount.currency`) and what is wrong."""

    field: str
    description: str


@dataclass(eq=False)
class PaycoreError(Exception):
    """A refusal with its reason and the figures that explain it.

    `metadata` goes to the caller as it is: ids and figures only, never personal data or secrets.
    """

    reason: Reason
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()
    retry_after_ms: int | None = None

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


def invalid_field(path: str, description: str) -> PaycoreError:
    """The refusal of a request with a single bad field."""
    return invalid_fields((Violation(path, description),))


def invalid_fields(violations: tuple[Violation, ...]) -> PaycoreError:
    """The refusal of a request with every bad field at once."""
    named = ", ".join(violation.field for violation in violations[:5])
    return PaycoreError(Reason.INVALID_FIELD, f"invalid: {named}", violations=violations)


def account_not_found(account_id: int) -> PaycoreError:
    """The refusal for an id that no account has."""
    return PaycoreError(
        Reason.ACCOUNT_NOT_FOUND, f"no account {account_id}", {"id": str(account_id)}
    )


def identifier_not_found(identifier: ExternalIdentifier) -> PaycoreError:
    """The refusal for an external identifier that no account has."""
    return PaycoreError(
        Reason.ACCOUNT_NOT_FOUND, f"no account is {identifier}", {"id": str(identifier)}
    )


def transfer_not_found(transfer_id: int) -> PaycoreError:
    """The refusal for an id that no transfer has."""
    return PaycoreError(
        Reason.TRANSFER_NOT_FOUND, f"no transfer {transfer_id}", {"id": str(transfer_id)}
    )


def key_reused(key: str) -> PaycoreError:
    """The refusal of an idempotency key that another request has used."""
    return PaycoreError(
        Reason.IDEMPOTENCY_KEY_REUSED, "the key was used for another request", {"key": key}
    )
