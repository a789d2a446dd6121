"""What the client raises: one class per reason, and a few for what no server said.

Switch on the class or on `reason`, never on the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import grpc

from paycore.domain.errors import (
    RETRYABLE,
    STORED_DECLINES,
    PaycoreError,
    Reason,
    Remedy,
    Violation,
)


class ClientError(Exception):
    """The base of all that a call can raise."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.request_id = ""
        """Stands in the services' logs beside this call."""
        self.idempotency_key: str | None = None
        """The key of the command; send it again, or ask `lookup_transfer` for its outcome."""
        self.attempts = 0
        self.outcome_unknown = False
        """Whether the command may have been carried out although the call failed."""
        self.unanswered: tuple[str, ...] = ()
        """Of a stream: the keys of orders that have no outcome."""


class TransportError(ClientError):
    """gRPC failed without a word from paycore; `code` is gRPC's own."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}" if details else code.name)
        self.code = code
        self.details = details


class UnreachableError(TransportError):
    """No connection, or it broke in the middle of the call."""


class TimedOutError(TransportError):
    """No answer within the time of an attempt."""


class HandshakeError(ClientError):
    """The connection can never succeed as it is set up: certificates do not match. Not retried."""


class UnexpectedReplyError(ClientError):
    """A reply that this version of the client cannot read."""


class RefusedError(ClientError):
    """paycore refused; a subclass for each reason.

    `metadata` holds ids and figures as text, `violations` the bad fields, `retry_after_ms` how long
    to wait before another try where the service said so.
    """

    reason: ClassVar[Reason]

    def __init__(
        self,
        message: str,
        metadata: Mapping[str, str] = MappingProxyType({}),
        violations: tuple[Violation, ...] = (),
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(f"{self.reason}: {message}")
        self.message = message
        self.metadata = metadata
        self.violations = violations
        self.retry_after_ms = retry_after_ms

    def __init_subclass__(cls) -> None:
        REFUSALS[cls.reason] = cls


REFUSALS: dict[Reason, type[RefusedError]] = {}
"""The class of each reason."""


class InvalidFieldError(RefusedError):
    """The request is malformed; `violations` names every bad field."""

    reason = Reason.INVALID_FIELD


class DeadlineRequiredError(RefusedError):
    """The call came without a deadline."""

    reason = Reason.DEADLINE_REQUIRED


class DeadlineExceededError(RefusedError):
    """The service gave up at the call's deadline."""

    reason = Reason.DEADLINE_EXCEEDED


class InsufficientFundsError(RefusedError):
    """The payer's account has too little; metadata: account, currency, available, requested."""

    reason = Reason.INSUFFICIENT_FUNDS


class BalanceOverflowError(RefusedError):
    """The balance would leave the range of int64."""

    reason = Reason.BALANCE_OVERFLOW


class AccountNotFoundError(RefusedError):
    """There is no such account, or the caller may not know of it."""

    reason = Reason.ACCOUNT_NOT_FOUND


class TransferNotFoundError(RefusedError):
    """There is no such transfer, or the caller may not know of it."""

    reason = Reason.TRANSFER_NOT_FOUND


class AccountFrozenError(RefusedError):
    """The account may not be debited."""

    reason = Reason.ACCOUNT_FROZEN


class AccountClosedError(RefusedError):
    """The account is closed."""

    reason = Reason.ACCOUNT_CLOSED


class AccountKindMismatchError(RefusedError):
    """The kind of transfer does not go with the kind of one of the accounts."""

    reason = Reason.ACCOUNT_KIND_MISMATCH


class CurrencyMismatchError(RefusedError):
    """An account is kept in another currency."""

    reason = Reason.CURRENCY_MISMATCH


class SameAccountError(RefusedError):
    """Payer and payee are one account."""

    reason = Reason.SAME_ACCOUNT


class HoldNotOpenError(RefusedError):
    """The hold was captured or released, or its time is up."""

    reason = Reason.HOLD_NOT_OPEN


class ExceedsRemainingError(RefusedError):
    """The transfer has not that much left; metadata: remaining, requested."""

    reason = Reason.EXCEEDS_REMAINING


class IllegalStateError(RefusedError):
    """The state does not allow this move."""

    reason = Reason.ILLEGAL_STATE


class IdempotencyKeyReusedError(RefusedError):
    """The key belongs to an earlier request with other content."""

    reason = Reason.IDEMPOTENCY_KEY_REUSED


class VersionMismatchError(RefusedError):
    """What was to be changed stands at another version; metadata: what it is, expected, actual."""

    reason = Reason.VERSION_MISMATCH


class ContentionError(RefusedError):
    """Others were faster every time; nothing was done."""

    reason = Reason.CONTENTION


class UnauthenticatedError(RefusedError):
    """The client's certificate names no caller, or has ended; metadata: why."""

    reason = Reason.UNAUTHENTICATED


class NotPermittedError(RefusedError):
    """The caller holds no right to do this."""

    reason = Reason.NOT_PERMITTED


class RiskDeclinedError(RefusedError):
    """A check of risk declines the payment; metadata: the rule that spoke."""

    reason = Reason.RISK_DECLINED


class StepUpRequiredError(RefusedError):
    """The payment needs the payer's proof."""

    reason = Reason.STEP_UP_REQUIRED


class AuthorizationInvalidError(RefusedError):
    """The proof is not one of this payment, or its check was interrupted; metadata: why."""

    reason = Reason.AUTHORIZATION_INVALID

    @property
    def seal_anew(self) -> bool:
        """Whether the PIN may be right and this sealed proof of it can never be used: the signing
        service was interrupted in its check. Call once more under the same key with the PIN, or
        with a proof that is sealed now. The check counts as a failure (`attempts_left`).
        """
        return self.metadata.get("remedy") == Remedy.SEAL_ANEW


class AuthorizationExpiredError(RefusedError):
    """The proof is too old."""

    reason = Reason.AUTHORIZATION_EXPIRED


class AuthorizationUsedError(RefusedError):
    """The proof was used for another payment."""

    reason = Reason.AUTHORIZATION_USED


class PinIncorrectError(RefusedError):
    """Wrong PIN; metadata: attempts left."""

    reason = Reason.PIN_INCORRECT


class PinLockedError(RefusedError):
    """Too many wrong PINs; metadata: until when."""

    reason = Reason.PIN_LOCKED


class PinAlreadyEnrolledError(RefusedError):
    """The user has a PIN."""

    reason = Reason.PIN_ALREADY_ENROLLED


class PinTooWeakError(RefusedError):
    """The PIN is too easy to guess."""

    reason = Reason.PIN_TOO_WEAK


class DeviceNotFoundError(RefusedError):
    """The user has no such device."""

    reason = Reason.DEVICE_NOT_FOUND


class TooManyDevicesError(RefusedError):
    """The user has as many devices as there may be; metadata: the limit."""

    reason = Reason.TOO_MANY_DEVICES


class SubscriptionNotFoundError(RefusedError):
    """No subscription has this id which the client may see; metadata: id."""

    reason = Reason.SUBSCRIPTION_NOT_FOUND


class DeliveryNotFoundError(RefusedError):
    """No delivery has this id which the client may see; metadata: id."""

    reason = Reason.DELIVERY_NOT_FOUND


class TooManySubscriptionsError(RefusedError):
    """As many subscriptions of the client are enabled as may be; metadata: client, limit."""

    reason = Reason.TOO_MANY_SUBSCRIPTIONS


class RateLimitedError(RefusedError):
    """The caller is over its rate."""

    reason = Reason.RATE_LIMITED


class OverloadedError(RefusedError):
    """The service has more work than it takes on."""

    reason = Reason.OVERLOADED


class DatabaseUnavailableError(RefusedError):
    """The service cannot reach its database now."""

    reason = Reason.DATABASE_UNAVAILABLE


class SignerUnavailableError(RefusedError):
    """The signing service cannot be reached now."""

    reason = Reason.SIGNER_UNAVAILABLE


class RiskUnavailableError(RefusedError):
    """The check of risk gives no answer now."""

    reason = Reason.RISK_UNAVAILABLE


class IndexUnavailableError(RefusedError):
    """The search index cannot be reached now."""

    reason = Reason.INDEX_UNAVAILABLE


class IndexBehindError(RefusedError):
    """The read side has not come to the position that was asked for."""

    reason = Reason.INDEX_BEHIND


class ShuttingDownError(RefusedError):
    """The process is about to stop; another one will answer."""

    reason = Reason.SHUTTING_DOWN


class WatcherBehindError(RefusedError):
    """A watch was not read fast enough; metadata: resume_token, from which it goes on."""

    reason = Reason.WATCHER_BEHIND


class HistoryReplacedError(RefusedError):
    """The ledger was restored or replaced: what was followed is history no longer."""

    reason = Reason.HISTORY_REPLACED


class InternalError(RefusedError):
    """Unforeseen; metadata: error_id, which is in the service's log."""

    reason = Reason.INTERNAL


_MAY_HAVE_BEEN_DONE = frozenset(
    {
        Reason.DATABASE_UNAVAILABLE,
        Reason.DEADLINE_EXCEEDED,
        Reason.SHUTTING_DOWN,
        Reason.INTERNAL,
    }
)
_TRIED_AGAIN = RETRYABLE | {Reason.DEADLINE_EXCEEDED}


def refusal(error: PaycoreError) -> RefusedError:
    """The exception of what a service said."""
    return REFUSALS[error.reason](
        error.message, dict(error.metadata), error.violations, error.retry_after_ms
    )


def is_retryable(error: ClientError, *, repeatable: bool) -> bool:
    """Whether the same request may be sent again.

    `repeatable` tells that doing it twice is doing it once. What is not is sent again only where
    the service said that it did not begin.
    """
    match error:
        case RefusedError(reason=reason):
            return reason in _TRIED_AGAIN if repeatable else reason in _NOT_BEGUN
        case UnreachableError() | TimedOutError():
            return repeatable
        case _:
            return False


_NOT_BEGUN = frozenset({Reason.CONTENTION})


def may_have_been_done(error: ClientError) -> bool:
    """Whether the attempt that failed so may have been carried out all the same."""
    match error:
        case RefusedError(reason=reason):
            return reason in _MAY_HAVE_BEEN_DONE
        case HandshakeError():
            return False
        case _:
            return True


def is_final(error: ClientError) -> bool:
    """Whether the ledger's lasting verdict under the key is known from `error`."""
    # What is stored has an id; a decline for want of an answer about risk is not.
    return (
        isinstance(error, RefusedError)
        and error.reason in STORED_DECLINES
        and "decline_id" in error.metadata
    )
