"""Limits and rules of risk on the command line, against a server that answers by a script."""

from __future__ import annotations

import json

import pytest

from paycore.domain.errors import PaycoreError, Reason
from paycore.v1 import policy_service_pb2 as pb2
from tests.integration.client.scripted import Script
from tests.integration.client.test_command_line import Paycore, paycore

__all__ = ["paycore"]

METHOD = "paycore.v1.TransferService/HoldFunds"
DEVICE = pb2.Limit(
    place=pb2.LimitPlace(client="app", method=METHOD, name=pb2.LIMIT_NAME_DEVICE),
    rate=pb2.RateLimit(per_s=0.5, burst=1_200),
    source=pb2.LIMIT_SOURCE_DATABASE,
    revision=7,
)
VELOCITY = pb2.Limit(
    place=pb2.LimitPlace(name=pb2.LIMIT_NAME_VELOCITY),
    velocity=pb2.VelocityLimit(window_s=3_600, payees=10, identifiers=3),
    source=pb2.LIMIT_SOURCE_FILE,
)
OFF = pb2.Limit(
    place=pb2.LimitPlace(client="payroll", name=pb2.LIMIT_NAME_USER),
    off=pb2.NoLimit(),
    source=pb2.LIMIT_SOURCE_DEFAULT,
)
RULE = pb2.RiskRule(
    currency="EUR",
    daily_limit_minor_units=1_000_000,
    daily_decision=pb2.RISK_RULE_DECISION_DECLINE,
    revision=3,
)


async def test_all_pages_of_limits_are_listed_with_who_says_them(
    paycore: Paycore, script: Script
) -> None:
    unknown = pb2.Limit(place=pb2.LimitPlace(name=77))  # type: ignore[arg-type]  # a later release's
    pages = (
        pb2.ListLimitsResponse(limits=[VELOCITY, unknown], next_page_token="more"),
        pb2.ListLimitsResponse(limits=[DEVICE, OFF]),
    )
    script.play(*pages)
    result = await paycore("limits", "list")
    assert result.exit_code == 0, result.output
    for shown in ("0.5/s, 1,200", "10 payees", "off", "database", "file", "default", "7"):
        assert shown in result.stdout, result.stdout
    columns = [line.split("│")[2].strip() for line in result.stdout.splitlines() if "│" in line]
    assert METHOD in "".join(columns)
    assert [one.page_token for one in script.requests] == ["", "more"]
    assert not script.requests[0].HasField("client")
    script.play(*pages)
    printed = json.loads((await paycore("limits", "list", "--client", "app", "--json")).stdout)
    assert [one["limit"] for one in printed] == ["velocity", "device", "user"]
    assert printed[1] == {
        "client": "app",
        "method": METHOD,
        "limit": "device",
        "per_s": 0.5,
        "burst": 1_200,
        "source": "DATABASE",
        "revision": 7,
    }
    assert script.requests[-1].client == "app"


async def test_a_rate_is_set_exactly(paycore: Paycore, script: Script) -> None:
    script.play(pb2.SetLimitResponse(limit=DEVICE))
    result = await paycore(
        "limits", "set", "DEVICE", "--client", "app", "--method", METHOD, "--per-s", "0.5",
        "--burst", "1200", "--revision", "0", "--reason", "agreed", "--key", "k", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["limit"]["revision"] == 7
    (sent,) = script.requests
    assert (sent.idempotency_key, sent.reason, sent.expected_revision) == ("k", "agreed", 0)
    assert sent.HasField("expected_revision")
    assert (sent.limit.place, sent.limit.rate) == (DEVICE.place, DEVICE.rate)


async def test_velocity_is_set_and_a_limit_switched_off(paycore: Paycore, script: Script) -> None:
    script.play(pb2.SetLimitResponse(limit=VELOCITY))
    result = await paycore(
        "limits", "set", "velocity", "--window", "3600", "--payees", "10", "--identifiers", "3",
        "--reason", "r",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert script.requests[-1].limit.velocity == VELOCITY.velocity
    assert script.requests[-1].limit.place == VELOCITY.place
    script.play(pb2.SetLimitResponse(limit=OFF))
    await paycore("limits", "set", "user", "--client", "payroll", "--off", "--reason", "r")
    assert script.requests[-1].limit.WhichOneof("setting") == "off"


async def test_a_limit_is_removed(paycore: Paycore, script: Script) -> None:
    script.play(pb2.RemoveLimitResponse(removed=False))
    result = await paycore("limits", "remove", "device", "--client", "app", "--reason", "r")
    assert "nothing to change" in result.stdout
    assert script.requests[-1].place.client == "app"
    script.play(PaycoreError(Reason.VERSION_MISMATCH, "moved on", {"actual": "9"}))
    result = await paycore("limits", "remove", "device", "--revision", "7", "--reason", "r")
    assert result.exit_code == 1


async def test_rules_of_risk_are_listed_set_and_removed(paycore: Paycore, script: Script) -> None:
    script.play(pb2.ListRiskRulesResponse(rules=[RULE]))
    result = await paycore("risk", "rules", "list")
    for shown in ("10,000.00", "decline", "-", "3"):
        assert shown in result.stdout
    script.play(pb2.SetRiskRuleResponse(rule=RULE))
    result = await paycore(
        "risk", "rules", "set", "EUR", "--daily", "10000.00", "--decline-daily", "--reason", "r"
    )
    assert "EUR stands at revision 3" in result.stdout
    sent = script.requests[-1].rule
    assert (sent.daily_limit_minor_units, sent.daily_decision) == (1_000_000, RULE.daily_decision)
    assert not sent.HasField("new_payee_above_minor_units")
    assert sent.new_payee_decision == 0
    script.play(pb2.RemoveRiskRuleResponse(removed=True))
    result = await paycore("risk", "rules", "remove", "EUR", "--reason", "r")
    assert "changed" in result.stdout


@pytest.mark.parametrize(
    "wrong",
    [
        ("limits", "set", "devices", "--per-s", "1", "--burst", "1", "--reason", "r"),
        ("limits", "set", "device", "--per-s", "1", "--reason", "r"),
        ("limits", "set", "device", "--per-s", "1", "--burst", "1", "--off", "--reason", "r"),
        ("limits", "set", "device", "--window", "1", "--payees", "1", "--identifiers", "1",
         "--reason", "r"),
        ("limits", "set", "velocity", "--per-s", "1", "--burst", "1", "--reason", "r"),
        ("limits", "set", "device", "--reason", "r"),
        ("risk", "rules", "set", "EUR", "--daily", "1.005", "--reason", "r"),
    ],
)  # fmt: skip
async def test_wrong_usage_ends_with_2_and_sends_nothing(
    paycore: Paycore, script: Script, wrong: tuple[str, ...]
) -> None:
    result = await paycore(*wrong)
    assert result.exit_code == 2, result.output
    assert script.requests == []
