"""What the demo shows of single payments: each with what the caller saw, and checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

from operations.demo.stage import MissedError, Stage, expect
from operations.money import format_money
from operations.views.history import freshness_line, history_table
from paycore.client import (
    Account,
    Money,
    PaycoreClient,
    Pin,
    StepUpBasis,
    Transfer,
    TransferFilter,
    TransferOrder,
    TransferReceipt,
)
from paycore.client.errors import (
    IdempotencyKeyReusedError,
    InsufficientFundsError,
    PinIncorrectError,
    RefusedError,
    StepUpRequiredError,
)

EUR = "EUR"
LARGE = 150_000
"""Minor units, above the local threshold of 1,000.00 EUR."""

SMALL = 4_250
HISTORY_PAGE = 8

Refusal = TypeVar("Refusal", bound=RefusedError)


@dataclass(slots=True)
class Cast:
    """The customers of the scenes, and the payer's PIN. `poor` has little."""

    run: str
    payer: Account
    payee: Account
    poor: Account
    pin: Pin
    wrong_pin: Pin
    last_position: str = ""

    def order(self, name: str, minor_units: int) -> TransferOrder:
        """A payment from payer to payee under a key of this run."""
        return TransferOrder(
            debit_account=self.payer.id,
            credit_account=self.payee.id,
            amount=Money(minor_units, EUR),
            reference=name,
            idempotency_key=f"{self.run}-{name}",
        )


class Scenes:
    """Each method is one act: it narrates, checks, and returns a note for the summary."""

    def __init__(self, stage: Stage, client: PaycoreClient, cast: Cast) -> None:
        self._stage = stage
        self._client = client
        self._cast = cast

    async def pin_payment(self) -> str:
        """Above the threshold the payer's PIN is needed, and suffices."""
        cast, stage = self._cast, self._stage
        order = cast.order("laptop", LARGE)
        stage.asked(f"EnrollPin for {cast.payer.owner}, the PIN sealed to the signing service")
        await self._client.enroll_pin(cast.payer.owner, cast.pin)
        stage.saw("[green]enrolled[/]")
        stage.asked(f"SubmitTransfer of {_money(LARGE)} without a PIN")
        refused = await self._refused(order, StepUpRequiredError)
        stage.saw_refusal(refused)
        stage.asked("the same with the PIN, sealed to exactly this payment")
        receipt = await self._client.submit_transfer(order, pin=cast.pin)
        self._saw_posted(receipt)
        basis = receipt.transfer.step_up_basis
        expect(basis is StepUpBasis.AUTHORIZED, f"the transfer's basis is {basis}, not AUTHORIZED")
        expect(receipt.transfer.authorization_id is not None, "no authorization is stored with it")
        stage.saw(
            f"stored with the payer's signed authorization {receipt.transfer.authorization_id}"
        )
        return f"{_money(LARGE)} approved with a PIN"

    async def wrong_pin(self) -> str:
        """A wrong PIN moves nothing and is counted."""
        self._stage.asked(f"SubmitTransfer of {_money(LARGE)} with a wrong PIN")
        before = await self._client.get_account(self._cast.payer.id)
        refused = await self._refused(
            self._cast.order("wrong-pin", LARGE), PinIncorrectError, self._cast.wrong_pin
        )
        self._stage.saw_refusal(refused)
        left = refused.metadata.get("attempts_left")
        expect(left == "4", f"4 attempts must be left of 5, not {left}")
        after = await self._client.get_account(self._cast.payer.id)
        expect(before.balance == after.balance, "money moved in spite of the wrong PIN")
        return f"refused, {left} attempts left, nothing moved"

    async def replay(self) -> str:
        """The same request again has the first effect only, and its answer."""
        order = self._cast.order("coffee", SMALL)
        self._stage.asked(f"SubmitTransfer of {_money(SMALL)} with key {order.idempotency_key}")
        first = await self._client.submit_transfer(order)
        self._saw_posted(first)
        self._stage.asked("exactly the same again, as after a lost reply")
        second = await self._client.submit_transfer(order)
        self._saw_posted(second)
        expect(second.replayed, "the second answer does not say that it is a replay")
        expect(second == replace(first, replayed=True), "the two answers differ")
        found = await self._client.lookup_transfer(first.idempotency_key)
        expect(isinstance(found, TransferReceipt), "LookupTransfer does not find it")
        self._cast.last_position = first.position
        return f"one effect, transfer {first.transfer.id} twice"

    async def key_reused(self) -> str:
        """The same key with another body is a mistake, and said so."""
        order = self._cast.order("coffee", SMALL + 1)
        self._stage.asked(f"the same key {order.idempotency_key} with {_money(SMALL + 1)}")
        refused = await self._refused(order, IdempotencyKeyReusedError)
        self._stage.saw_refusal(refused)
        return "refused, nothing moved"

    async def insufficient_funds(self) -> str:
        """A decline tells what there is and what was asked for, and is remembered."""
        account = await self._client.get_account(self._cast.poor.id)
        requested = account.available + 1
        order = replace(self._cast.order("too-much", requested), debit_account=account.id)
        self._stage.asked(f"{_money(requested)} from an account with {_money(account.available)}")
        refused = await self._refused(order, InsufficientFundsError)
        self._stage.saw_refusal(refused)
        figures = (str(account.available), str(requested))
        again = await self._refused(order, InsufficientFundsError)
        for seen in (refused, again):
            told = (seen.metadata.get("available"), seen.metadata.get("requested"))
            expect(told == figures, f"{told} are not the account's figures, {figures}")
        same = refused.metadata.get("decline_id") == again.metadata.get("decline_id")
        expect(same, "the second answer is not that of the first decline")
        return f"available {_money(account.available)}, requested {_money(requested)}"

    async def history(self, account: int, position: str) -> str:
        """A page from Elasticsearch: running balances that follow from each other."""
        self._stage.asked(f"ListTransfers of account {account}, at or after the last write")
        page = await self._client.list_transfers_page(
            TransferFilter(account), page_size=HISTORY_PAGE, min_position=position
        )
        self._stage.show(history_table(account, list(page.transfers), with_notes=False))
        self._stage.show(freshness_line(page.freshness, more=bool(page.next_page_token)))
        expect(len(page.transfers) > 1, "the page is all but empty")
        _check_chain(account, page.transfers)
        current = await self._client.get_account(account)
        newest = _balance_after(account, page.transfers[0])
        expect(newest == current.balance, "the newest balance is not that of the ledger")
        return f"{len(page.transfers)} entries, newest balance equals the ledger's"

    async def _refused(
        self, order: TransferOrder, expected: type[Refusal], pin: Pin | None = None
    ) -> Refusal:
        try:
            receipt = await self._client.submit_transfer(order, pin=pin)
        except expected as error:
            return error
        raise MissedError(
            f"{expected.reason} was due, but transfer {receipt.transfer.id} was posted"
        )

    def _saw_posted(self, receipt: TransferReceipt) -> None:
        transfer = receipt.transfer
        replayed = " [yellow](replayed)[/]" if receipt.replayed else ""
        balance = transfer.debit_balance_after
        left = "" if balance is None else f", payer has {_money(balance)} left"
        self._stage.saw(
            f"[green]{transfer.state}[/]{replayed} transfer {transfer.id}, "
            f"entry {transfer.debit_version} of the payer{left}"
        )


def _money(minor_units: int) -> str:
    return format_money(minor_units, EUR)


def _balance_after(account: int, transfer: Transfer) -> int | None:
    if transfer.debit_account == account:
        return transfer.debit_balance_after
    return transfer.credit_balance_after


def _check_chain(account: int, newest_first: tuple[Transfer, ...]) -> None:
    """Each balance must be the one of the entry before plus the change, and versions gap-free."""
    for newer, older in pairwise(newest_first):
        before, after = _balance_after(account, older), _balance_after(account, newer)
        expect(before is not None and after is not None, "a balance is missing")
        pays = newer.debit_account == account
        change = -newer.amount.minor_units if pays else newer.amount.minor_units
        expect((before or 0) + change == after, f"the balance after transfer {newer.id} is wrong")
        versions = [
            item.debit_version if item.debit_account == account else item.credit_version
            for item in (older, newer)
        ]
        expect(versions[0] + 1 == versions[1], f"an entry is missing before transfer {newer.id}")
