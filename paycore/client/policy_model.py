"""What methods for operators take and give: policies, grants, limits, rules of risk."""

from __future__ import annotations

from dataclasses import dataclass

from paycore.domain.grants import GrantAction, GrantScope
from paycore.domain.limits import Place, Setting, Source
from paycore.domain.transfers import RiskDecision


@dataclass(frozen=True, slots=True)
class StepUpPolicy:
    """Amounts in minor units of `currency`, above each of which a payer must approve.

    None stands for a rule that the currency does not have; `revision` is set by the service.
    """

    currency: str
    threshold: int
    first_payment_threshold: int | None = None
    daily_total: int | None = None
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """What `client` may do with which accounts; or whose identifiers it may link, by `scheme`.

    Action and scope are of a grant on accounts, and the institution of one with scope INSTITUTION.
    """

    client: str
    action: GrantAction | None = None
    scope: GrantScope | None = None
    institution: str = ""
    scheme: str = ""


@dataclass(frozen=True, slots=True)
class StandingLimit:
    """What a limit is set to, by whom, and at which revision where that is the database."""

    place: Place
    setting: Setting
    source: Source
    revision: int = 0


@dataclass(frozen=True, slots=True)
class LimitView:
    """A limit of one place: as it is set there, if it is, and what holds for calls there."""

    own: StandingLimit | None
    in_force: StandingLimit | None


@dataclass(frozen=True, slots=True)
class RiskRule:
    """By what payments in `currency` are judged: amounts in minor units, None for no such rule.

    The decisions, DECLINE or REVIEW, are of payments above each; `revision` is set by the service.
    """

    currency: str
    daily_limit: int | None = None
    daily_decision: RiskDecision = RiskDecision.REVIEW
    new_payee_above: int | None = None
    new_payee_decision: RiskDecision = RiskDecision.REVIEW
    revision: int = 0


@dataclass(frozen=True, slots=True)
class PolicyReceipt:
    """Whether anything is other than before, now or (replayed) when the key was first used.

    What was set stands beside it, as it was set.
    """

    changed: bool
    idempotency_key: str
    replayed: bool
    policy: StepUpPolicy | None = None
    limit: StandingLimit | None = None
    risk_rule: RiskRule | None = None
