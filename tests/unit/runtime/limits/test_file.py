"""The file of limits says whose they are, and nothing that it cannot mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from paycore.domain.limits import Limit, RateLimit, VelocityLimit
from paycore.runtime.limits.table import DEFAULTS, LimitTable, Scoped

SUBMIT = "paycore.v1.TransferService/SubmitTransfer"
OTHER = "paycore.v1.TransferService/HoldFunds"


def read(folder: Path, text: str) -> LimitTable:
    path = folder / "limits.toml"
    path.write_text(text)
    return LimitTable().read(path, ("app", "payroll"), (SUBMIT, OTHER))


def test_without_a_file_the_defaults_hold_for_everybody() -> None:
    table = LimitTable().read(None, (), ())
    assert table.rates("whoever", SUBMIT) == {
        limit: Scoped(rate, "") for limit, rate in DEFAULTS.items() if isinstance(rate, RateLimit)
    }
    assert table.velocity("whoever") == DEFAULTS[Limit.VELOCITY]
    assert LimitTable.of_client_rate(RateLimit(7, 1_000)).rates("app", SUBMIT)[
        Limit.CLIENT
    ] == Scoped(RateLimit(7, 1_000), "")


def test_the_nearest_that_is_said_holds(tmp_path: Path) -> None:
    table = read(
        tmp_path,
        f"""
        [default]
        user = {{ per_s = 3, burst = 30 }}
        velocity = {{ window_s = 60, payees = 5, identifiers = 2 }}
        [clients.app]
        device = {{ per_s = 0.5, burst = 4 }}
        address = false
        [clients.app.methods."{SUBMIT}"]
        device = {{ per_s = 0.1, burst = 1 }}
        [clients.payroll]
        velocity = false
        """,
    )
    app = table.rates("app", SUBMIT)
    assert app[Limit.DEVICE] == Scoped(RateLimit(0.1, 1), SUBMIT)
    assert app[Limit.USER] == Scoped(RateLimit(3, 30), "")
    assert Limit.ADDRESS not in app
    assert table.rates("app", OTHER)[Limit.DEVICE] == Scoped(RateLimit(0.5, 4), "")
    assert table.rates("payroll", SUBMIT)[Limit.DEVICE].rate == DEFAULTS[Limit.DEVICE]
    assert table.velocity("app") == VelocityLimit(60, 5, 2)
    assert table.velocity("payroll") is None
    assert table.longest_window_s() == 60


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[client.app]", "client is not known"),
        ("[clients.ap]", "clients.ap is not known"),
        ("[default.devices]", "default.devices is not known"),
        ("[default.methods]", "default.methods is not known"),
        ("[default.device]\nper_s = 1", "default.device.burst is missing"),
        ("[default.device]\nper_s = 1\nburst = 1\nwait = 1", "default.device.wait is not known"),
        ("[default.device]\nper_s = -5\nburst = 1", r"per_s is a number above 0 .*, not -5"),
        ("[default.device]\nper_s = 0\nburst = 1", "per_s is a number above 0"),
        ("[default.device]\nper_s = inf\nburst = 1", "per_s is a number above 0 and below"),
        ("[default.device]\nper_s = nan\nburst = 1", "per_s is a number above 0"),
        ("[default.device]\nper_s = true\nburst = 1", "per_s is a number above 0"),
        ("[default.device]\nper_s = 1\nburst = 0", "burst is a whole number from 1"),
        ("[default.device]\nper_s = 1\nburst = 1.5", "burst is a whole number from 1"),
        (
            "[default.device]\nper_s = 0.001\nburst = 1000",
            "burst is what comes back within 86400 s at this rate, not 1000",
        ),
        ("[default]\ndevice = true", "default.device is a table .* not True"),
        ("[default.velocity]\nwindow_s = 1\npayees = 1", "velocity.identifiers is missing"),
        (
            "[default.velocity]\nwindow_s = 90000\npayees = 1\nidentifiers = 1",
            "velocity.window_s is a whole number from 1 to 86400, not 90000",
        ),
        (
            f'[clients.app.methods."{SUBMIT}s"]\ndevice = false',
            "clients.app.methods.paycore.v1.TransferService/SubmitTransfers is not known",
        ),
        (f'[clients.app.methods."{SUBMIT}"]\nvelocity = false', "velocity is not known"),
        ("clients = 3", "clients is a table"),
    ],
)
def test_what_it_cannot_mean_is_named(tmp_path: Path, text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=f"limits.toml: .*{wrong}"):
        read(tmp_path, text)
