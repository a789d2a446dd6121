"""The command line against a real server: what it prints and how it ends."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from typer.testing import CliRunner, Result

from operations.cli.app import app
from operations.deployment import Deployment
from paycore.client.retries import Timeouts
from paycore.domain.errors import PaycoreError, Reason
from paycore.signing.v1 import signing_service_pb2 as pb
from paycore.v1 import (
    account_pb2,
    account_service_pb2,
    history_service_pb2,
    money_pb2,
    personal_data_service_pb2,
)
from tests.integration.client.movements import group_reply, reply_to
from tests.integration.client.samples import submitted, transfer
from tests.integration.client.scripted import Script

Paycore = Callable[..., Coroutine[Any, Any, Result]]


@pytest.fixture
def paycore(target: str, monkeypatch: pytest.MonkeyPatch) -> Paycore:
    monkeypatch.setenv("PAYCORE_COMMAND_TARGET", target)
    monkeypatch.setenv("PAYCORE_QUERY_TARGET", target)
    monkeypatch.setenv("PAYCORE_SIGNING_TARGET", target)
    monkeypatch.setenv("PAYCORE_INSECURE", "true")
    return invoke


async def invoke(*arguments: str, stdin: str = "") -> Result:
    # The commands run an event loop of their own.
    return await asyncio.to_thread(CliRunner().invoke, app, list(arguments), input=stdin)


async def test_a_transfer_is_sent_exactly_and_shown(paycore: Paycore, script: Script) -> None:
    script.play(submitted())
    result = await paycore("transfer", "11", "12", "2.50", "EUR", "--key", "k1")
    assert result.exit_code == 0, result.output
    assert "2.50 EUR" in result.stdout
    assert script.requests[0].amount.minor_units == 250
    assert script.requests[0].idempotency_key == "k1"


async def test_json_is_printed_whole(paycore: Paycore, script: Script) -> None:
    script.play(submitted())
    result = await paycore("transfer", "11", "12", "2.50", "EUR", "--json")
    printed = json.loads(result.stdout)
    assert printed["transfer"]["id"] == "99"
    assert printed["idempotency_key"] == script.requests[0].idempotency_key


async def test_a_decline_ends_with_1_and_its_figures(paycore: Paycore, script: Script) -> None:
    figures = {"available": "100", "requested": "250", "currency": "EUR"}
    script.play(PaycoreError(Reason.INSUFFICIENT_FUNDS, "too little", figures))
    result = await paycore("transfer", "11", "12", "2.50", "EUR")
    assert result.exit_code == 1
    assert "available: 1.00 EUR" in result.stderr
    as_json = await paycore("transfer", "11", "12", "2.50", "EUR", "--json")
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout)["error"]["metadata"] == figures


@pytest.mark.parametrize(
    ("amount", "currency"), [("2.505", "EUR"), ("1.5", "JPY"), ("1", "eur"), ("-1", "EUR")]
)
async def test_a_bad_amount_ends_with_2_and_sends_nothing(
    paycore: Paycore, script: Script, amount: str, currency: str
) -> None:
    result = await paycore("transfer", "--", "11", "12", amount, currency)
    assert result.exit_code == 2
    assert script.requests == []


def account(currency: str = "EUR") -> account_pb2.Account:
    """An account as a service would send it."""
    message = account_pb2.Account(
        id=11,
        currency=currency,
        kind=account_pb2.ACCOUNT_KIND_CUSTOMER,
        status=account_pb2.ACCOUNT_STATUS_ACTIVE,
        metadata={"plan": "gold"},
    )
    message.create_time.FromMicroseconds(1_790_000_000_123_456)
    return message


async def test_an_account_is_opened_with_metadata(paycore: Paycore, script: Script) -> None:
    script.play(account_service_pb2.CreateAccountResponse(account=account()))
    result = await paycore("account", "create", "ada", "Nordbank", "EUR", "--metadata", "plan=gold")
    assert result.exit_code == 0, result.output
    assert dict(script.requests[0].metadata) == {"plan": "gold"}
    assert "gold" in result.stdout


async def test_a_limit_is_read_in_the_currency_of_the_account(
    paycore: Paycore, script: Script
) -> None:
    script.play(
        account_service_pb2.GetAccountResponse(account=account("JPY")),
        account_service_pb2.SetOverdraftLimitResponse(account=account("JPY")),
    )
    result = await paycore("account", "set-limit", "stripe:cus_42", "250", "agreed", "--key", "k")
    assert result.exit_code == 0, result.output
    read, changed = script.requests
    assert (read.account_identifier.scheme, read.account_identifier.value) == ("stripe", "cus_42")
    assert (changed.account_id, changed.overdraft_limit_minor_units) == (11, 250)
    assert (changed.reason, changed.idempotency_key) == ("agreed", "k")


async def test_an_account_is_linked_and_resolved(paycore: Paycore, script: Script) -> None:
    script.play(
        account_service_pb2.LinkExternalIdentifierResponse(account=account()),
        account_service_pb2.ResolveExternalIdentifierResponse(account_id=11),
    )
    linked = await paycore("account", "link", "11", "stripe:cus_42")
    assert linked.exit_code == 0, linked.output
    resolved = await paycore("account", "resolve", "stripe:cus_42", "--json")
    assert json.loads(resolved.stdout) == {"account": "11"}
    for request in script.requests:
        assert (request.identifier.scheme, request.identifier.value) == ("stripe", "cus_42")
    wrong = await paycore("account", "resolve", "cus_42")
    assert wrong.exit_code == 2


async def test_an_unreachable_service_ends_with_3(
    paycore: Paycore, unused_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYCORE_COMMAND_TARGET", f"127.0.0.1:{unused_port}")
    # It is asked again until the time is up.
    defaults = Deployment.client.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "timeouts", Timeouts(total_s=1.0))
    result = await paycore("account", "show", "11")
    assert result.exit_code == 3


async def test_without_a_stack_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.delenv("PAYCORE_COMMAND_TARGET", raising=False)
    result = await invoke("account", "show", "1", "--state", str(tmp_path_factory.mktemp("none")))
    assert result.exit_code == 3
    assert "make up" in result.stderr


async def test_an_address_without_certificates_is_wrong_usage(
    paycore: Paycore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PAYCORE_INSECURE")
    result = await paycore("account", "show", "1")
    assert result.exit_code == 2
    assert "PAYCORE_TLS_CERTIFICATE" in result.stderr


async def test_history_follows_pages_up_to_the_limit(paycore: Paycore, script: Script) -> None:
    page = history_service_pb2.ListTransfersResponse(
        transfers=[transfer(1), transfer(2)], next_page_token="more"
    )
    script.play(page)
    result = await paycore("history", "11", "--limit", "4", "--json")
    printed = json.loads(result.stdout)
    assert len(printed["transfers"]) == 4
    assert printed["more"] is True
    assert [request.page_size for request in script.requests] == [4, 2]


@pytest.mark.parametrize(
    ("command", "request_class", "reply", "shown"),
    [
        ("pin reset ada", pb.ResetPinRequest, pb.ResetPinResponse(), "ada has no PIN"),
        ("pin unlock ada", pb.UnlockPinRequest, pb.UnlockPinResponse(), "ada is not locked"),
        (
            f"device revoke ada {'0f' * 16}",
            pb.RevokeDeviceRequest,
            pb.RevokeDeviceResponse(revoke_time=Timestamp(seconds=1_790_000_000)),
            "since 2026-09-21",
        ),
    ],
)
async def test_an_operator_takes_out_of_force_with_a_reason(
    paycore: Paycore, script: Script, command: str, request_class: Any, reply: Any, shown: str
) -> None:
    script.play(reply)
    assert (await paycore(*command.split())).exit_code == 2
    assert script.requests == []
    result = await paycore(*command.split(), "--reason", "reported lost")
    assert result.exit_code == 0, result.output
    assert shown in " ".join(result.stdout.split())
    [request] = script.requests
    assert isinstance(request, request_class)
    assert (request.user_id, request.reason) == ("ada", "reported lost")
    if isinstance(request, pb.RevokeDeviceRequest):
        assert request.device_id == "0f" * 16


async def test_devices_are_listed_and_may_be_kept_at_a_reset(
    paycore: Paycore, script: Script
) -> None:
    device = pb.Device(
        device_id="0f" * 16,
        algorithm=pb.DEVICE_ALGORITHM_P256,
        enroll_time=Timestamp(seconds=1_790_000_000),
        vouched_by="operator",
    )
    script.play(pb.ListDevicesResponse(devices=[device]))
    result = await paycore("device", "list", "ada")
    assert result.exit_code == 0, result.output
    for shown in ("0f" * 16, "P256", "2026-09-21", "operator"):
        assert shown in result.stdout
    script.play(pb.ResetPinResponse())
    result = await paycore("pin", "reset", "ada", "--keep-devices", "--reason", "came with it")
    assert result.exit_code == 0, result.output
    assert "the devices stay" in " ".join(result.stdout.split())
    assert script.requests[-1].keep_devices


@pytest.mark.parametrize("digits", ["777", "not digits", "1234567890123"])
async def test_a_bad_pin_is_refused_unseen(paycore: Paycore, script: Script, digits: str) -> None:
    result = await paycore("pin", "enroll", "ada", "--pin-file", "-", stdin=digits)
    assert result.exit_code == 2
    assert digits not in result.output
    assert script.requests == []


@pytest.mark.parametrize(
    ("arguments", "name", "sent"),
    [
        (["hold", "11", "12", "2.50", "EUR"], "hold_funds", {"debit_account_id": 11}),
        (["capture", "81"], "capture_hold", {"hold_id": 81, "final": True}),
        (
            ["capture", "81", "2.50", "EUR", "--keep-rest"],
            "capture_hold",
            {"amount": money_pb2.Money(minor_units=250, currency="EUR"), "final": False},
        ),
        (["release", "81", "--reference", "r"], "release_hold", {"reference": "r"}),
        (["refund", "91", "2.50", "EUR"], "refund_transfer", {"transfer_id": 91}),
        (["reverse", "91", "--reason", "twice"], "reverse_transfer", {"reason": "twice"}),
        (["review", "approve", "81", "--reason", "ok"], "approve_review", {"transfer_id": 81}),
        (["review", "refuse", "81", "--reason", "no"], "refuse_review", {"reason": "no"}),
    ],
)
async def test_what_holds_and_follows_is_sent_exactly_and_shown(
    paycore: Paycore, script: Script, arguments: list[str], name: str, sent: dict[str, object]
) -> None:
    script.play(reply_to(name))
    result = await paycore(*arguments, "--key", "k1")
    assert result.exit_code == 0, result.output
    assert "2.50 EUR" in result.stdout
    (request,) = script.requests
    assert request.idempotency_key == "k1"
    assert {field: getattr(request, field) for field in sent} == sent


async def test_a_hold_ends_when_it_was_told_to(paycore: Paycore, script: Script) -> None:
    script.play(reply_to("hold_funds"))
    await paycore("hold", "11", "12", "2.50", "EUR", "--for", "90m")
    ends_s = script.requests[0].expire_time.seconds
    assert abs(ends_s - time.time() - 5_400) < 60


async def test_a_group_comes_from_a_file_or_from_standard_input(
    paycore: Paycore, script: Script, tmp_path: Path
) -> None:
    lines = "debit_account,credit_account,amount,currency\n11,12,2.50,EUR\n11,13,1,EUR\n"
    file = tmp_path / "payroll.csv"
    file.write_text("\ufeff" + lines)
    script.play(group_reply())
    for result in (
        await paycore("group", str(file), "--key", "k1"),
        await paycore("group", "-", "--key", "k1", stdin=lines),
    ):
        assert result.exit_code == 0, result.output
        assert "2 transfers" in result.stdout
        assert "5.00 EUR" in result.stdout
    first, second = script.requests
    assert first == second
    assert [item.amount.minor_units for item in first.transfers] == [250, 100]


@pytest.mark.parametrize(
    "arguments",
    [
        ["capture", "81", "2.50"],
        ["hold", "11", "12", "2.50", "EUR", "--for", "soon"],
        ["group", "/nowhere/at/all.csv"],
        ["review", "approve", "81"],
        ["reverse", "91"],
        ["reversals", "list"],
        ["review", "list"],
    ],
)
async def test_what_makes_no_sense_ends_with_2_and_sends_nothing(
    paycore: Paycore, script: Script, arguments: list[str]
) -> None:
    assert (await paycore(*arguments)).exit_code == 2
    assert script.requests == []


@pytest.mark.parametrize(
    "command",
    ["up", "status", "transfer", "history", "volume", "verify", "demo", "load",
     "hold", "capture", "release", "refund", "reverse", "group", "review list", "review approve",
     "review refuse", "reversals list", "account create", "account show", "pin enroll",
     "pin reset", "pin unlock", "device revoke"],
)  # fmt: skip
async def test_every_command_explains_itself(command: str) -> None:
    result = await invoke(*command.split(), "--help")
    assert result.exit_code == 0
    assert "Example" in result.stdout
    assert "--json" in result.stdout


async def test_erasing_asks_first_and_tells_what_it_found(paycore: Paycore, script: Script) -> None:
    script.play(
        personal_data_service_pb2.EraseSubjectResponse(destroyed_keys=2, cleared_accounts=3)
    )
    refused = await paycore("erase", "ada", "--reason", "asked for", stdin="n\n")
    assert refused.exit_code == 1
    assert script.requests == []
    result = await paycore("erase", "ada", "--reason", "asked for", stdin="y\n")
    assert result.exit_code == 0, result.output
    assert "2 keys destroyed, 3 accounts cleared" in " ".join(result.stdout.split())
    assert (script.requests[0].subject, script.requests[0].reason) == ("ada", "asked for")
    as_json = await paycore("erase", "ada", "--reason", "asked for", "--yes", "--json")
    assert json.loads(as_json.stdout)["destroyed_keys"] == "2"
