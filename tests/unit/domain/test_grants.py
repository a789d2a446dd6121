"""Nothing is allowed that no grant allows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.grants import (
    CONCERNS_NO_ACCOUNT,
    Grant,
    GrantAction,
    Grants,
    GrantScope,
    Reach,
    check_actor,
)

names = st.sampled_from(("a", "b", "c"))
institutions = st.sampled_from(("x", "y", "z"))
grants = st.one_of(
    st.builds(
        Grant,
        names,
        st.sampled_from(GrantAction),
        st.sampled_from((GrantScope.OWN, GrantScope.ALL)),
    ),
    st.builds(
        Grant,
        names,
        st.sampled_from(GrantAction),
        st.just(GrantScope.INSTITUTION),
        institutions,
    ),
)


@given(st.lists(grants, max_size=12), names, st.sampled_from(GrantAction), names, institutions)
def test_allowed_is_what_some_single_grant_allows(
    rows: list[Grant], client: str, action: GrantAction, opened_by: str, institution: str
) -> None:
    reaching = [
        row
        for row in rows
        if (row.client, row.action) == (client, action)
        and (
            row.scope is GrantScope.ALL
            or (row.scope is GrantScope.OWN and opened_by == client)
            or (row.scope is GrantScope.INSTITUTION and row.institution == institution)
        )
    ]
    allowed = Grants.of(rows).allows(client, action, opened_by=opened_by, institution=institution)
    assert allowed == bool(reaching)


@given(st.lists(grants, max_size=12), names, st.sampled_from(GrantAction))
def test_a_client_holds_what_a_row_names(
    rows: list[Grant], client: str, action: GrantAction
) -> None:
    held = any((row.client, row.action) == (client, action) for row in rows)
    assert Grants.of(rows).holds(client, action) == held


@pytest.mark.parametrize("action", sorted(CONCERNS_NO_ACCOUNT))
def test_what_concerns_no_account_is_held_with_all_or_not(action: GrantAction) -> None:
    part = [Grant("a", action, GrantScope.OWN), Grant("a", action, GrantScope.INSTITUTION, "x")]
    assert not Grants.of(part).everywhere("a", action)
    assert Grants.of([*part, Grant("a", action, GrantScope.ALL)]).everywhere("a", action)


@pytest.mark.parametrize("scope", GrantScope)
def test_an_actor_is_named_by_who_may_speak_for_all_users(scope: GrantScope) -> None:
    institution = "x" if scope is GrantScope.INSTITUTION else ""
    held = Grants.of([Grant("a", GrantAction.ACT_FOR_USERS, scope, institution)])
    check_actor(held, "a", named=False)
    if scope is GrantScope.ALL:
        check_actor(held, "a", named=True)
        return
    with pytest.raises(PaycoreError) as refused:
        check_actor(held, "a", named=True)
    assert refused.value.reason is Reason.NOT_PERMITTED
    assert refused.value.metadata == {"grant": "ACT_FOR_USERS"}


def test_without_grants_there_is_nothing() -> None:
    nobody = Grants()
    assert not nobody.allows("a", "READ", opened_by="a", institution="x")
    assert nobody.reach("a", "READ") == Reach(all=False, own=False, institutions=frozenset())


def test_an_account_without_an_institution_is_reached_by_no_institution_grant() -> None:
    rows = [Grant("a", GrantAction.READ, GrantScope.INSTITUTION, "x")]
    assert not Grants.of(rows).allows("a", "READ", opened_by="b", institution="")
