"""The rules that the ledger must keep, by the name under which the queries tell of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Rule(NamedTuple):
    """`unit` names what is counted."""

    text: str
    unit: str


RULES: Mapping[str, Rule] = {
    "sums": Rule("balances add up to zero per currency", "currencies"),
    "versions": Rule("versions are gap-free from 1 across both sides", "entries"),
    "balances": Rule("each balance is the one before it plus the change", "entries"),
    "held_after": Rule("each amount held is the one before it plus the change", "entries"),
    "times": Rule("each account's times rise with its versions", "entries"),
    "floors": Rule("no customer's account is or was below its floor", "entries"),
    "limits": Rule("limits are what their audited changes made them", "changes"),
    "accounts": Rule("stored accounts equal what their transfers make them", "accounts"),
    "sides": Rule("payer and payee fit the transfer's kind and currency", "transfers"),
    "children": Rule("what follows a transfer leaves it as its rules say", "transfers"),
    "open_holds": Rule("open holds have left what their transfers left them", "holds"),
    "held": Rule("what accounts have set aside is what open holds have left", "accounts"),
    "groups": Rule("groups list the transfers that name them", "groups"),
    "keys": Rule("keys and outcomes belong together one to one", "keys"),
    "journal": Rule("the journal lists each outcome once and nothing else", "listed"),
    "positions": Rule("each key's position is that of its journal row", "keys"),
    "details": Rule("personal data stands where its hash does, sealed or erased", "details"),
    "erasures": Rule("what is erased was erased by an audited request", "keys"),
    "authorizations": Rule("authorized transfers have the payer's authorization", "authorizations"),
    "step_up": Rule("payments were approved, exempt or below policy, as recorded", "payments"),
    "signatures": Rule("authorizations are genuine and of their payment", "authorizations"),
    "triggers": Rule("the triggers that guard history and balances always fire", "triggers"),
    "functions": Rule("the functions of the tables are those of the migrations", "functions"),
    "constraints": Rule("the constraints of the tables stand", "constraints"),
    "partitions": Rule("partitions of transfers leave no gap and none is apart", "partitions"),
    "legal_children": Rule("the table of legal children says what the rules say", "pairs"),
    "rights": Rule("no role can rewrite history or write balances", "rights"),
}
"""In the order in which they are reported."""
