"""Where messages name accounts: each place is a oneof of an id and an external identifier."""

from __future__ import annotations

from typing import Any, NamedTuple


class Named(NamedTuple):
    """The two fields of one place."""

    by_id: str
    by_identifier: str


ACCOUNT = Named("account_id", "account_identifier")
DEBIT = Named("debit_account_id", "debit_account_identifier")
CREDIT = Named("credit_account_id", "credit_account_identifier")
COUNTERPARTY = Named("counterparty_account_id", "counterparty_identifier")
SIDES = (DEBIT, CREDIT)


def names_by_identifier(request: Any, *places: Named) -> bool:
    """Whether `request` names an account by an identifier in any of `places`."""
    return any(request.HasField(place.by_identifier) for place in places)
