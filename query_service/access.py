"""What a client may see of what was found.

- An account (its balance, list, counterparties): whoever may READ it; others get NOT_PERMITTED, as
  the reply to a payment on it would tell them too that it exists.
- A transfer: whoever may READ one of its accounts, and the client that asked for it; for others it
  is TRANSFER_NOT_FOUND, as if there were none. A stored decline is the payer's business: of the
  accounts, only READ of the debited one shows it.
- In a transfer, a balance is shown with READ of its account, and so is what is held on it and what
  a declined payment found available; actor, metadata and the rule of a review to the payer's side
  only: with READ of the debited account, and to the client that asked.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason, account_not_found
from paycore.domain.grants import GrantAction, Grants
from paycore.domain.money import Currency
from paycore.domain.transfers import TransferId, TransferState, shown_figures
from query_service.readers.port import AccountReader, ReadTerms, Viewer
from query_service.readers.records import AccountRecord, Side, TransferRecord

READ = GrantAction.READ.value

KNOWN_ACCOUNTS = 65_536
"""Accounts whose immutable facts are remembered, so that a page needs one query, not two."""


class GrantsSource(Protocol):
    """Where the grants come from."""

    def current(self) -> Grants:
        """The grants now. Raises PaycoreError DATABASE_UNAVAILABLE when they are not known."""
        ...


class AccountFacts(NamedTuple):
    """What never changes about an account."""

    currency: Currency
    side: Side


class Access:
    """Decides what clients see, by the grants of the moment."""

    def __init__(self, grants: GrantsSource, accounts: AccountReader) -> None:
        self._grants = grants
        self._accounts = accounts
        self._known: OrderedDict[AccountId, AccountFacts] = OrderedDict()

    def viewer(self, client: str) -> Viewer:
        """`client` with its reach."""
        return Viewer(client, self._grants.current().reach(client, READ))

    def check_reads(self, client: str) -> None:
        """Raise PaycoreError NOT_PERMITTED for a client that may READ no account at all.

        It learns nothing about which accounts exist.
        """
        if not self._grants.current().holds(client, READ):
            raise PaycoreError(Reason.NOT_PERMITTED, "no grant to read accounts", {"grant": READ})

    def check_known(self, client: str, account: AccountId) -> None:
        """Raise PaycoreError NOT_PERMITTED where that is plain before anything is asked.

        What is not plain yet, `readable_account` must say before anything is answered.
        """
        grants = self._grants_of_a_reader(client, account)
        facts = self._known.get(account)
        if facts is not None and not _reads(grants, client, facts.side):
            raise _not_permitted(account)

    async def readable_account(
        self,
        client: str,
        account: AccountId,
        terms: ReadTerms,
        seen: Sequence[TransferRecord] = (),
    ) -> AccountFacts:
        """The facts of an account that `client` may read, which transfers `seen` of it tell too.

        Raises PaycoreError ACCOUNT_NOT_FOUND or NOT_PERMITTED.
        """
        grants = self._grants_of_a_reader(client, account)
        facts = self._known.get(account)
        posted = next((one for one in seen if one.state is not TransferState.FAILED), None)
        if facts is None and posted is not None:
            # A second question, for the account alone, would double the cost of a first page.
            facts = self._remember(account, _facts_in(posted, account))
        elif facts is None:
            record = _found((await self._accounts.account(account, terms)).value, account)
            side = Side(record.opened_by, record.institution)
            facts = self._remember(account, AccountFacts(record.currency, side))
        else:
            self._known.move_to_end(account)
        if not _reads(grants, client, facts.side):
            raise _not_permitted(account)
        return facts

    def checked_account(
        self, client: str, account: AccountId, found: AccountRecord | None
    ) -> AccountRecord:
        """`found`, when `client` may read it. Raises as `readable_account` does."""
        grants = self._grants_of_a_reader(client, account)
        record = _found(found, account)
        if not _reads(grants, client, Side(record.opened_by, record.institution)):
            raise _not_permitted(account)
        return record

    def checked_transfer(
        self, client: str, transfer: TransferId, found: TransferRecord | None
    ) -> TransferRecord:
        """What of `found` the client may see. Raises PaycoreError TRANSFER_NOT_FOUND."""
        shown = None if found is None else _shown(found, client, self._grants.current())
        if shown is None:
            raise PaycoreError(
                Reason.TRANSFER_NOT_FOUND, f"no transfer {transfer}", {"id": str(transfer)}
            )
        return shown

    def shown(self, client: str, found: list[TransferRecord]) -> list[TransferRecord]:
        """What the client may see of each; those that it may not see are left out."""
        grants = self._grants.current()
        return [seen for record in found if (seen := _shown(record, client, grants)) is not None]

    def _grants_of_a_reader(self, client: str, account: AccountId) -> Grants:
        # A client without any READ learns nothing about which accounts exist.
        grants = self._grants.current()
        if not grants.holds(client, READ):
            raise _not_permitted(account)
        return grants

    def _remember(self, account: AccountId, facts: AccountFacts) -> AccountFacts:
        self._known[account] = facts
        if len(self._known) > KNOWN_ACCOUNTS:
            self._known.popitem(last=False)
        return facts


def _facts_in(record: TransferRecord, account: AccountId) -> AccountFacts:
    pays = record.debit_account == account
    return AccountFacts(record.currency, record.debit_side if pays else record.credit_side)


def _shown(record: TransferRecord, client: str, grants: Grants) -> TransferRecord | None:
    reads_debit = _reads(grants, client, record.debit_side)
    reads_credit = _reads(grants, client, record.credit_side)
    is_own = record.client == client
    if reads_debit and reads_credit:
        return record
    declined = record.state is TransferState.FAILED
    if not (reads_debit or is_own or (reads_credit and not declined)):
        return None
    hidden: dict[str, object] = {}
    if not reads_debit:
        hidden["debit_balance_after"] = None
        hidden["debit_held_after"] = None
        hidden["decline_figures"] = shown_figures(record.decline_figures, payer_readable=False)
        if not is_own:
            hidden |= {"user_id": "", "device_id": "", "ip_address": "", "metadata": {}}
            hidden["review"] = ""
    if not reads_credit:
        hidden["credit_balance_after"] = None
    return record._replace(**hidden)  # type: ignore[arg-type]  # names and types as above


def _reads(grants: Grants, client: str, side: Side) -> bool:
    return grants.allows(client, READ, opened_by=side.opened_by, institution=side.institution)


def _found(record: AccountRecord | None, account: AccountId) -> AccountRecord:
    if record is None:
        raise account_not_found(account)
    return record


def _not_permitted(account: AccountId) -> PaycoreError:
    return PaycoreError(
        Reason.NOT_PERMITTED,
        f"no grant to read account {account}",
        {"account": str(account), "grant": READ},
    )
