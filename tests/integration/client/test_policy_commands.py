"""Policy and grants on the command line, against a server that answers by a script."""

from __future__ import annotations

import json

import pytest

from paycore.domain.errors import PaycoreError, Reason
from paycore.v1 import policy_service_pb2 as pb2
from tests.integration.client.scripted import Script
from tests.integration.client.test_command_line import Paycore, paycore

__all__ = ["paycore"]

EUR = pb2.StepUpPolicy(
    currency="EUR", threshold_minor_units=100_000, daily_total_minor_units=250_000, revision=7
)


async def test_policies_are_listed_as_amounts(paycore: Paycore, script: Script) -> None:
    script.play(pb2.ListStepUpPoliciesResponse(policies=[EUR]))
    result = await paycore("policy", "list")
    assert result.exit_code == 0, result.output
    for shown in ("1,000.00", "2,500.00", "7", "-"):
        assert shown in result.stdout
    printed = json.loads((await paycore("policy", "list", "--json")).stdout)
    assert [one["currency"] for one in printed] == ["EUR"]


async def test_a_policy_is_set_exactly(paycore: Paycore, script: Script) -> None:
    script.play(pb2.SetStepUpPolicyResponse(policy=EUR))
    result = await paycore(
        "policy", "set", "EUR", "1000.00", "--first", "0.50", "--revision", "6",
        "--reason", "agreed", "--key", "k",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "revision 7" in result.stdout
    (sent,) = script.requests
    assert (sent.idempotency_key, sent.reason, sent.expected_revision) == ("k", "agreed", 6)
    assert sent.policy.threshold_minor_units == 100_000
    assert sent.policy.first_payment_threshold_minor_units == 50
    assert not sent.policy.HasField("daily_total_minor_units")


async def test_a_policy_that_moved_on_ends_with_1(paycore: Paycore, script: Script) -> None:
    script.play(PaycoreError(Reason.VERSION_MISMATCH, "moved on", {"actual": "9"}))
    result = await paycore("policy", "remove", "EUR", "--revision", "7", "--reason", "r")
    assert result.exit_code == 1


async def test_grants_are_given_and_taken(paycore: Paycore, script: Script) -> None:
    script.play(pb2.GiveGrantResponse(changed=True))
    result = await paycore(
        "grants", "give", "payroll", "step_up_exempt", "--scope", "institution",
        "--institution", "north", "--reason", "payroll",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    right = script.requests[0].grant.accounts
    assert (right.action, right.scope, right.institution) == (
        pb2.GRANT_ACTION_STEP_UP_EXEMPT,
        pb2.GRANT_SCOPE_INSTITUTION,
        "north",
    )
    script.play(pb2.TakeGrantResponse(changed=False))
    result = await paycore("grants", "take", "app", "scheme:iban", "--reason", "ended")
    assert "nothing to change" in result.stdout
    assert script.requests[-1].grant.scheme == "iban"


async def test_all_pages_of_grants_are_listed(paycore: Paycore, script: Script) -> None:
    exempt = pb2.AccountGrant(action=pb2.GRANT_ACTION_STEP_UP_EXEMPT, scope=pb2.GRANT_SCOPE_OWN)
    script.play(
        pb2.ListGrantsResponse(
            grants=[pb2.Grant(client="payroll", accounts=exempt)], next_page_token="more"
        ),
        pb2.ListGrantsResponse(grants=[pb2.Grant(client="app", scheme="iban")]),
    )
    result = await paycore("grants", "list")
    assert result.exit_code == 0, result.output
    for shown in ("payroll", "STEP_UP_EXEMPT", "OWN", "link iban:"):
        assert shown in result.stdout
    assert [one.page_token for one in script.requests] == ["", "more"]


@pytest.mark.parametrize(
    "wrong",
    [
        ("grants", "give", "app", "FLY", "--scope", "own", "--reason", "r"),
        ("grants", "give", "app", "READ", "--reason", "r"),
        ("grants", "give", "app", "act_for_users", "--scope", "own", "--reason", "r"),
        (
            "grants",
            "give",
            "app",
            "ERASE",
            "--scope",
            "institution",
            "--institution",
            "north",
            "--reason",
            "r",
        ),
        ("grants", "give", "app", "scheme:iban", "--scope", "own", "--reason", "r"),
        ("policy", "set", "EUR", "1.005", "--reason", "r"),
    ],
)
async def test_wrong_usage_ends_with_2_and_sends_nothing(
    paycore: Paycore, script: Script, wrong: tuple[str, ...]
) -> None:
    result = await paycore(*wrong)
    assert result.exit_code == 2, result.output
    assert script.requests == []
