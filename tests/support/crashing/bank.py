"""The bank: eight accounts with a hundred between them, paid to and fro and read all the while."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import grpc

from paycore.v1 import account_service_pb2 as accounts_pb2
from paycore.v1 import history_service_pb2 as history_pb2
from tests.support.callers import Caller, answered
from tests.support.crashing.commands import Commands
from tests.support.crashing.history import Reply
from tests.support.crashing.linear import Read
from tests.support.crashing.sendings import ATTEMPT_S, One
from tests.support.crashing.tables import Tables

TOTAL = 100
SHARES = (13, 13, 13, 13, 12, 12, 12, 12)
MOST = 5
COMMAND = "BANK"


@dataclass(frozen=True, slots=True)
class OwnRead:
    """An account from the query service, at or after the position of one's own payment."""

    account: int
    due: int
    """The version that the payment left."""
    version: int
    balance: int


@dataclass(frozen=True, slots=True)
class PastRead:
    """All accounts as they stood at one time, one after the other from the query service."""

    at_us: int
    balances: Mapping[int, int]
    versions: Mapping[int, int]


class Bank:
    """Transfers and reads; nothing of them is forgotten."""

    def __init__(self, accounts: Sequence[int], commands: Commands, rng: random.Random) -> None:
        self.accounts = tuple(accounts)
        self.reads: list[Read] = []
        self.own_reads: list[OwnRead] = []
        self.failed_reads = 0
        self.strangers: list[int] = []
        """Accounts that an answer was about, and nobody asked for."""
        self._commands = commands
        self._rng = rng

    @classmethod
    async def open(cls, caller: Caller, commands: Commands, rng: random.Random) -> Bank:
        """Accounts with SHARES of TOTAL, opened by `caller`."""
        external, *accounts = await caller.open(len(SHARES))
        for share in set(SHARES):
            paid = [one for one, due in zip(accounts, SHARES, strict=True) if due == share]
            await caller.fund(external, paid, share, "EUR")
        return cls(accounts, commands, rng)

    def transfer(self) -> One:
        """Something between two of the accounts."""
        debit, credit = self._rng.sample(self.accounts, 2)
        return self._commands.pay(debit, credit, self._rng.randint(1, MOST), COMMAND)

    async def read(self, caller: Caller) -> None:
        """Read all accounts from the primary, one after the other, in any order."""
        for account in self._rng.sample(self.accounts, len(self.accounts)):
            request = accounts_pb2.GetAccountRequest(account_id=account)
            began_s = time.monotonic()
            try:
                reply = await caller.accounts.GetAccount(request, timeout=ATTEMPT_S)
            except grpc.RpcError:
                self.failed_reads += 1
                continue
            found = reply.account
            if found.id != account:
                self.strangers.append(found.id)
            self.reads.append(
                Read(
                    account,
                    began_s,
                    time.monotonic(),
                    found.version,
                    found.balance_minor_units,
                )
            )

    async def read_own(self, caller: Caller, paid: Reply) -> None:
        """Read the payer's account of `paid` at or after its position."""
        (told,) = paid.transfers
        request = history_pb2.GetBalanceRequest(account_id=told.debit, min_position=paid.position)
        try:
            reply = await caller.history.GetBalance(request, timeout=ATTEMPT_S)
        except grpc.RpcError:
            # Not yet there, or away: it says so, instead of showing what was before.
            self.failed_reads += 1
            return
        if reply.account_id != told.debit:
            self.strangers.append(reply.account_id)
        self.own_reads.append(
            OwnRead(told.debit, told.debit_version, reply.version, reply.balance.minor_units)
        )

    async def read_past(self, caller: Caller, at_us: int, position: str) -> PastRead:
        """All accounts as they stood at `at_us`, once the index has all up to `position`."""
        balances, versions = {}, {}
        for account in self.accounts:
            request = history_pb2.GetBalanceRequest(account_id=account, min_position=position)
            request.at_time.FromMicroseconds(at_us)
            reply = await answered(partial(caller.history.GetBalance, request, timeout=ATTEMPT_S))
            if reply.account_id != account:
                self.strangers.append(reply.account_id)
            balances[account] = reply.balance.minor_units
            versions[account] = reply.version
        return PastRead(at_us, balances, versions)


def bank_breaches(
    accounts: Sequence[int],
    reads: Sequence[Read],
    totals: Sequence[int],
    past: Sequence[PastRead],
    strangers: Sequence[int] = (),
) -> Iterator[str]:
    """What no read may show. `totals` are those of all accounts in one snapshot of the tables.

    Reads from the primary are of different moments, so that their total says nothing: what binds
    them is the order of versions (`linear`). Reads of one past time are whole: both legs of a
    transfer have one time.
    """
    known = set(accounts)
    for stranger in strangers:
        yield f"an answer is about account {stranger}, for which nobody asked"
    for read in reads:
        if read.account not in known:
            yield f"account {read.account} is none of the bank's"
        if read.balance < 0:
            yield f"account {read.account} was read with {read.balance} at version {read.version}"
    for total in totals:
        if total != TOTAL:
            yield f"a snapshot of all accounts has {total} instead of {TOTAL}"
    for one in past:
        if set(one.balances) != known:
            yield f"the read of {one.at_us} is of accounts {sorted(one.balances)}"
        if sum(one.balances.values()) != TOTAL:
            yield f"at {one.at_us} there were {sum(one.balances.values())}: {dict(one.balances)}"
        if any(balance < 0 for balance in one.balances.values()):
            yield f"at {one.at_us} an account was below zero: {dict(one.balances)}"


def own_read_breaches(reads: Sequence[OwnRead], tables: Tables) -> Iterator[str]:
    """Where a read did not show one's own payment, or what the account never was."""
    accounts = {read.account for read in reads}
    balances: dict[tuple[int, int | None], int | None] = {}
    for row in tables.transfers:
        if row.debit in accounts:
            balances[row.debit, row.debit_version] = row.debit_balance
        if row.credit in accounts:
            balances[row.credit, row.credit_version] = row.credit_balance
    for read in reads:
        where = f"account {read.account}, read from the query service at version {read.version}"
        if read.version < read.due:
            yield f"{where}: one's own payment had left version {read.due}"
        if balances.get((read.account, read.version)) != read.balance:
            yield f"{where}: balance {read.balance} is not that of the version"
