"""A second, naive ledger, written from the design's page and not from the code.

It keeps nothing but the list of what has happened and recomputes everything from it, slowly. Where
the two disagree, one of them is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ModelAccount:
    """What is fixed about an account, or changed by hand."""

    currency: str = "EUR"
    outside: bool = False
    overdraft: int = 0
    status: str = "ACTIVE"
    opened_by: str = ""


@dataclass(frozen=True)
class ModelEntry:
    """Money that moved."""

    debit: int
    credit: int
    amount: int


@dataclass(frozen=True)
class Asked:
    """A command as a caller means it; two are the same request when `body` is equal."""

    client: str
    key: str
    kind: str
    debit: int
    credit: int
    amount: int
    currency: str = "EUR"
    expected_debit_version: int | None = None

    @property
    def body(self) -> tuple[object, ...]:
        return (self.kind, self.debit, self.credit, self.amount, self.currency)


@dataclass(frozen=True)
class Verdict:
    """How a command must come out: POSTED or a reason, and the figures that go with it."""

    word: str
    replayed: bool = False
    debit_balance: int | None = None
    credit_balance: int | None = None
    debit_version: int | None = None
    credit_version: int | None = None
    available: int | None = None


REMEMBERED = ("POSTED", "INSUFFICIENT_FUNDS", "ACCOUNT_FROZEN", "ACCOUNT_CLOSED")


@dataclass
class ModelLedger:
    """Accounts, what moved between them, and what every key led to."""

    accounts: dict[int, ModelAccount] = field(default_factory=dict)
    thresholds: dict[str, int] = field(default_factory=dict)
    entries: list[ModelEntry] = field(default_factory=list)
    answers: dict[tuple[str, str], tuple[tuple[object, ...], Verdict]] = field(default_factory=dict)

    def balance(self, account: int) -> int:
        """Credits minus debits."""
        came = sum(entry.amount for entry in self.entries if entry.credit == account)
        went = sum(entry.amount for entry in self.entries if entry.debit == account)
        return came - went

    def version(self, account: int) -> int:
        """How many entries the account has."""
        return sum(account in (entry.debit, entry.credit) for entry in self.entries)

    def decide(self, asked: Asked) -> Verdict:
        """The outcome of `asked`, which then has happened."""
        answered = self.answers.get((asked.client, asked.key))
        if answered is not None:
            body, verdict = answered
            if body != asked.body:
                return Verdict("IDEMPOTENCY_KEY_REUSED")
            return Verdict(**{**vars(verdict), "replayed": True})
        verdict = self._fresh(asked)
        if verdict.word in REMEMBERED:
            self.answers[(asked.client, asked.key)] = (asked.body, verdict)
        return verdict

    def _fresh(self, asked: Asked) -> Verdict:
        refusal = self._refusal(asked)
        if refusal is not None:
            return refusal
        self.entries.append(ModelEntry(asked.debit, asked.credit, asked.amount))
        return Verdict(
            "POSTED",
            debit_balance=self.balance(asked.debit),
            credit_balance=self.balance(asked.credit),
            debit_version=self.version(asked.debit),
            credit_version=self.version(asked.credit),
        )

    def _refusal(self, asked: Asked) -> Verdict | None:
        if asked.debit == asked.credit:
            return Verdict("SAME_ACCOUNT")
        if asked.debit not in self.accounts or asked.credit not in self.accounts:
            return Verdict("ACCOUNT_NOT_FOUND")
        payer, payee = self.accounts[asked.debit], self.accounts[asked.credit]
        if payer.opened_by != asked.client:
            return Verdict("NOT_PERMITTED")
        crosses = {
            "TRANSFER": (False, False),
            "DEPOSIT": (True, False),
            "WITHDRAWAL": (False, True),
        }
        if (payer.outside, payee.outside) != crosses[asked.kind]:
            return Verdict("ACCOUNT_KIND_MISMATCH")
        if {payer.currency, payee.currency} != {asked.currency}:
            return Verdict("CURRENCY_MISMATCH")
        if asked.expected_debit_version not in (None, self.version(asked.debit)):
            return Verdict("VERSION_MISMATCH")
        sensitive = asked.amount > self.thresholds.get(asked.currency, -1)
        if asked.kind != "DEPOSIT" and sensitive:
            return Verdict("STEP_UP_REQUIRED")
        if "CLOSED" in (payer.status, payee.status):
            return Verdict("ACCOUNT_CLOSED")
        if payer.status == "FROZEN":
            return Verdict("ACCOUNT_FROZEN")
        if not payer.outside and self.balance(asked.debit) - asked.amount < -payer.overdraft:
            available = self.balance(asked.debit) + payer.overdraft
            return Verdict("INSUFFICIENT_FUNDS", available=available)
        return None
