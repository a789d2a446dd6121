"""What callers ask of the ledger: the same request when client, key and `body` are equal."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Payment:
    """Money to be moved, or set aside until `expires_us`. A group's items have no key."""

    client: str
    key: str
    kind: str
    debit: int
    credit: int
    amount: int
    currency: str = "EUR"
    reference: str | None = None
    expected_debit_version: int | None = None
    expected_credit_version: int | None = None
    expires_us: int | None = None
    verdict: tuple[str, str] | None = None
    """What a check before the posting says of it: a decision and its rule."""

    @property
    def body(self) -> tuple[object, ...]:
        return (
            self.kind,
            self.debit,
            self.credit,
            self.amount,
            self.currency,
            self.reference,
            self.expires_us,
        )


@dataclass(frozen=True)
class Following:
    """Something to be done about the transfer `parent`.

    `wish` is CAPTURE, RELEASE, REFUND or REVERSAL, for a payment under review APPROVE or REFUSE,
    for a hold whose time is up EXPIRE.
    """

    client: str
    key: str
    wish: str
    parent: int
    amount: int | None = None
    currency: str | None = None
    final: bool = True

    @property
    def body(self) -> tuple[object, ...]:
        return (self.wish, self.parent, self.amount, self.currency, self.final)


@dataclass(frozen=True)
class Together:
    """Payments of which all are posted in this order, or none."""

    client: str
    key: str
    items: tuple[Payment, ...]

    @property
    def body(self) -> tuple[object, ...]:
        return ("GROUP", *(item.body for item in self.items))


@dataclass(frozen=True)
class StatusChange:
    """An account to be frozen, closed or made active again."""

    client: str
    key: str
    account: int
    status: str
    expected_revision: int | None = None

    @property
    def body(self) -> tuple[object, ...]:
        return ("STATUS", self.account, self.status)


@dataclass(frozen=True)
class LimitChange:
    """An account to be let go `limit` below zero."""

    client: str
    key: str
    account: int
    limit: int
    expected_revision: int | None = None

    @property
    def body(self) -> tuple[object, ...]:
        return ("LIMIT", self.account, self.limit)


Change = StatusChange | LimitChange
Command = Payment | Following | Together
Asked = Command | Change
