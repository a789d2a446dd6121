"""What clients may do with which accounts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from paycore.domain.errors import PaycoreError, Reason


class GrantAction(StrEnum):
    """What a grant allows; debits are granted by the kind of transfer."""

    READ = "READ"
    SET_STATUS = "SET_STATUS"
    STEP_UP_EXEMPT = "STEP_UP_EXEMPT"
    ACT_FOR_USERS = "ACT_FOR_USERS"
    TRANSFER = "TRANSFER"
    DEPOSIT = "DEPOSIT"
    WITHDRAWAL = "WITHDRAWAL"
    HOLD = "HOLD"
    CAPTURE = "CAPTURE"
    RELEASE = "RELEASE"
    REFUND = "REFUND"
    REVERSAL = "REVERSAL"
    FEE = "FEE"
    NET_SETTLEMENT = "NET_SETTLEMENT"
    REVIEW = "REVIEW"
    """Approve or refuse payments that are held for review."""
    LINK_IDENTIFIER = "LINK_IDENTIFIER"
    """Give accounts names of the world outside, of schemes that the client was given (Rules)."""
    OPEN_EXTERNAL = "OPEN_EXTERNAL"
    """Open EXTERNAL accounts, through which money enters and leaves."""
    SET_OVERDRAFT = "SET_OVERDRAFT"
    """Let an account go below zero."""
    ERASE = "ERASE"
    """Erase subjects: their personal data, with all clients and institutions."""
    WEBHOOKS = "WEBHOOKS"
    """See and change the webhooks of other clients."""


CONCERNS_NO_ACCOUNT = frozenset(
    {GrantAction.ACT_FOR_USERS, GrantAction.ERASE, GrantAction.WEBHOOKS}
)
"""What has no part that a smaller scope could mean: given with scope ALL, or not at all."""


class GrantScope(StrEnum):
    """On which accounts: those the client opened, those of one institution, or all."""

    OWN = "OWN"
    INSTITUTION = "INSTITUTION"
    ALL = "ALL"


@dataclass(frozen=True, slots=True)
class Grant:
    """One row of the grants table."""

    client: str
    action: GrantAction
    scope: GrantScope
    institution: str = ""


@dataclass(frozen=True, slots=True)
class Reach:
    """The accounts that one client reaches with one action."""

    all: bool = False
    own: bool = False
    institutions: frozenset[str] = frozenset()

    def covers(self, client: str, opened_by: str, institution: str) -> bool:
        """Whether an account opened by `opened_by` at `institution` is among those of `client`."""
        return self.all or (self.own and opened_by == client) or institution in self.institutions


_NOWHERE = Reach()


@dataclass(frozen=True, slots=True)
class Grants:
    """All grants, indexed. Nothing is allowed that no grant allows."""

    reaches: Mapping[tuple[str, str], Reach] = field(default_factory=dict)

    @classmethod
    def of(cls, grants: Iterable[Grant]) -> Grants:
        """Index `grants` by client and action."""
        collected: dict[tuple[str, str], Reach] = {}
        for grant in grants:
            key = (grant.client, grant.action.value)
            reach = collected.get(key, _NOWHERE)
            collected[key] = Reach(
                all=reach.all or grant.scope is GrantScope.ALL,
                own=reach.own or grant.scope is GrantScope.OWN,
                institutions=reach.institutions | ({grant.institution} - {""}),
            )
        return cls(collected)

    def reach(self, client: str, action: str) -> Reach:
        """What `client` reaches with `action`; nowhere when it holds no such grant."""
        return self.reaches.get((client, action), _NOWHERE)

    def allows(self, client: str, action: str, *, opened_by: str, institution: str) -> bool:
        """Whether `client` may do `action` on an account opened by `opened_by` at `institution`."""
        return self.reach(client, action).covers(client, opened_by, institution)

    def holds(self, client: str, action: str) -> bool:
        """Whether `client` holds `action` with any scope."""
        return (client, action) in self.reaches

    def everywhere(self, client: str, action: str) -> bool:
        """Whether `client` holds `action`, one that CONCERNS_NO_ACCOUNT, with scope ALL."""
        return self.reach(client, action).all


def check_actor(grants: Grants, client: str, *, named: bool) -> None:
    """A named user is believed only from clients that are granted to speak for users.

    Raises PaycoreError NOT_PERMITTED.
    """
    if named and not grants.everywhere(client, GrantAction.ACT_FOR_USERS):
        raise PaycoreError(
            Reason.NOT_PERMITTED,
            f"{client} may not name an actor",
            {"grant": GrantAction.ACT_FOR_USERS},
        )
