"""What an outcome tells about the payments that were let through."""

from __future__ import annotations

from command_service.admission.risk.endings import ending_of, tickets_of
from command_service.admission.risk.port import Ending
from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.money import Currency, Minor
from paycore.domain.transfers import (
    GroupCommand,
    GroupPosted,
    Refused,
    RiskDecision,
    RiskVerdict,
    TransferCommand,
    TransferKind,
)

PLAIN = TransferCommand(
    "app", "k", b"", TransferKind.TRANSFER, AccountId(1), AccountId(2), Minor(5), Currency("EUR")
)


def test_only_what_may_have_been_written_is_in_doubt() -> None:
    endings = {reason: ending_of(Refused(PaycoreError(reason, ""))) for reason in Reason}
    in_doubt = {reason for reason, ending in endings.items() if ending is Ending.UNKNOWN}
    assert in_doubt == {Reason.DATABASE_UNAVAILABLE, Reason.INTERNAL}
    assert set(endings.values()) == {Ending.UNKNOWN, Ending.NOTHING_STORED}


def test_what_is_posted_is_stored() -> None:
    assert ending_of(GroupPosted(1, [], False, None)) is Ending.STORED


def test_tickets_are_those_of_the_verdicts() -> None:
    verdict = RiskVerdict(RiskDecision.APPROVE, ticket=7)
    judged = PLAIN._replace(risk=verdict)
    unticketed = PLAIN._replace(risk=RiskVerdict(RiskDecision.APPROVE))
    assert tickets_of(PLAIN) == frozenset()
    assert tickets_of(unticketed) == frozenset()
    assert tickets_of(judged) == {7}
    other = PLAIN._replace(risk=verdict._replace(ticket=8))
    assert tickets_of(GroupCommand("app", "k", b"", (PLAIN, judged, judged, other))) == {7, 8}
