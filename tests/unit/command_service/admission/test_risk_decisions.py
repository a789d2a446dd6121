"""A group is decided as its items would be one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from command_service.admission.risk.decisions import (
    DAILY_LIMIT,
    NEW_PAYEE,
    CurrencyRules,
    Figures,
    decide,
    passes,
)
from command_service.admission.risk.port import Answer, NoAnswerError
from paycore.domain.accounts import AccountId
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.money import Currency, Minor
from paycore.domain.transfers import RiskDecision, RiskVerdict, TransferCommand, TransferKind

DECLINE, REVIEW = RiskDecision.DECLINE, RiskDecision.REVIEW


def command(payer: int, payee: int, amount: int, currency: str = "EUR") -> TransferCommand:
    return TransferCommand(
        "app",
        "group",
        b"",
        TransferKind.TRANSFER,
        AccountId(payer),
        AccountId(payee),
        Minor(amount),
        Currency(currency),
    )


def told(answers: Sequence[Answer]) -> list[object]:
    """`answers` so that equal ones compare so."""
    return [
        one if isinstance(one, RiskVerdict) else (type(one), getattr(one, "reason", str(one)))
        for one in answers
    ]


accounts = st.integers(1, 2)
commands = st.lists(
    st.builds(command, accounts, accounts, st.integers(1, 30), st.sampled_from(["EUR", "USD"])),
    min_size=1,
    max_size=12,
)
rules = st.dictionaries(
    st.sampled_from(["EUR", "USD"]),
    st.builds(
        CurrencyRules,
        st.none() | st.integers(40, 100),
        st.sampled_from([DECLINE, REVIEW]),
        st.none() | st.integers(0, 40),
        st.sampled_from([DECLINE, REVIEW]),
    ),
)
figures = st.builds(
    Figures,
    st.fixed_dictionaries({AccountId(one): st.none() | st.integers(0, 30) for one in (1, 2)}),
    st.fixed_dictionaries({AccountId(one): st.integers(0, 20) for one in (1, 2)}),
    st.frozensets(st.tuples(accounts.map(AccountId), accounts.map(AccountId))),
)


@given(commands, rules, figures)
def test_together_is_one_after_the_other(
    asked: list[TransferCommand], by: Mapping[str, CurrencyRules], known: Figures
) -> None:
    spent = dict(known.spent)
    single: list[Answer] = []
    for one in asked:
        (answer,) = decide([one], by, Figures(spent, known.others, known.known))
        single.append(answer)
        before = spent[one.debit_account]
        if passes(answer) and before is not None:
            spent[one.debit_account] = before + one.amount
    assert told(decide(asked, by, known)) == told(single)


def test_each_item_hears_its_own() -> None:
    by = {"EUR": CurrencyRules(100, DECLINE, 20, REVIEW)}
    known = Figures(
        {AccountId(1): 40, AccountId(2): None, AccountId(3): 0},
        {AccountId(1): 0, AccountId(2): 0, AccountId(3): 90},
        frozenset({(AccountId(1), AccountId(9))}),
    )
    asked = [
        command(1, 9, 30),  # 70 of 100
        command(1, 8, 25),  # 95, to a payee not known
        command(1, 9, 6),  # 101
        command(1, 9, 5),  # 100: what was declined does not count
        command(2, 9, 1),
        command(3, 9, 11),
        command(3, 9, 10),
        command(1, 9, 10**6, "USD"),
    ]
    approved = RiskVerdict(RiskDecision.APPROVE)
    assert told(decide(asked, by, known)) == [
        approved,
        RiskVerdict(REVIEW, NEW_PAYEE),
        RiskVerdict(DECLINE, DAILY_LIMIT),
        approved,
        (NoAnswerError, "TOO_MANY_DEBITS"),
        (PaycoreError, Reason.CONTENTION),
        approved,
        approved,
    ]
