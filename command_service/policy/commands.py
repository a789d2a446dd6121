"""The commands that change policy, and their outcome."""

from __future__ import annotations

from typing import NamedTuple

from command_service.admission.risk.decisions import CurrencyRules
from paycore.domain.grants import Grant
from paycore.domain.limits import Place, Setting
from paycore.domain.step_up_policy import StepUpPolicy
from paycore.domain.transfers import Details


class SchemeGrant(NamedTuple):
    """One row of the scheme grants: `client` may link names of `scheme`."""

    client: str
    scheme: str


class SetPolicy(NamedTuple):
    """A request to set the policy of a currency. `expected_revision` is 0 for none in force."""

    client: str
    key: str
    request_hash: bytes
    currency: str
    policy: StepUpPolicy
    expected_revision: int | None
    reason: str
    actor: Details


class RemovePolicy(NamedTuple):
    """A request to have no policy for a currency any more."""

    client: str
    key: str
    request_hash: bytes
    currency: str
    expected_revision: int | None
    reason: str
    actor: Details


class ChangeGrant(NamedTuple):
    """A request to give a grant to the client that it names, or to take it."""

    client: str
    key: str
    request_hash: bytes
    grant: Grant | SchemeGrant
    given: bool
    reason: str
    actor: Details


class SetLimit(NamedTuple):
    """A request to set a limit. `expected_revision` is 0 for none that is set."""

    client: str
    key: str
    request_hash: bytes
    place: Place
    setting: Setting
    expected_revision: int | None
    reason: str
    actor: Details


class RemoveLimit(NamedTuple):
    """A request to have what file and defaults say of a limit again."""

    client: str
    key: str
    request_hash: bytes
    place: Place
    expected_revision: int | None
    reason: str
    actor: Details


class SetRiskRule(NamedTuple):
    """A request to set the rules of risk of a currency. `expected_revision` is 0 for none."""

    client: str
    key: str
    request_hash: bytes
    currency: str
    rules: CurrencyRules
    expected_revision: int | None
    reason: str
    actor: Details


class RemoveRiskRule(NamedTuple):
    """A request to have no rules of risk for a currency any more."""

    client: str
    key: str
    request_hash: bytes
    currency: str
    expected_revision: int | None
    reason: str
    actor: Details


PolicyChange = (
    SetPolicy | RemovePolicy | ChangeGrant | SetLimit | RemoveLimit | SetRiskRule | RemoveRiskRule
)


class PolicyOutcome(NamedTuple):
    """What a change led to, now or (replayed) when its key was first used."""

    changed: bool
    """Whether anything is other than it was before."""
    revision: int
    """Of what was set; else 0."""
    replayed: bool = False
