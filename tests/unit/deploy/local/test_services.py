"""Services get their settings by environment, and nothing that belongs to another."""

from pathlib import Path

import pytest

from deploy.local.layout import lay_out
from deploy.local.ports import PortClaims
from deploy.local.services import ACCESS_FILE, service_environment
from deploy.local.settings import StackSettings
from deploy.local.state import StateFolder, ensure_secrets
from paycore.domain.limits import RATES
from paycore.runtime.access import AccessTable
from paycore.runtime.limits.table import LimitTable


def environment_of(
    name: str, folder: Path, changes: dict[str, str] | None = None
) -> dict[str, str]:
    state = StateFolder(folder)
    state.create()
    claims = PortClaims()
    try:
        layout = lay_out(state, ensure_secrets(state), StackSettings(), claims, {}, 2)
    finally:
        claims.release()
    return service_environment(
        name, state, layout.endpoints, 2, layout.metrics_listen(name), changes or {}
    )


@pytest.mark.parametrize("name", ["command", "signing", "projector", "query"])
def test_every_service_gets_the_common_settings_under_its_prefix(folder: Path, name: str) -> None:
    environment = environment_of(name, folder)

    prefix = f"PAYCORE_{name.upper()}_"
    assert all(key.startswith(prefix) for key in environment)
    assert environment[f"{prefix}ENVIRONMENT"] == "local"
    assert environment[f"{prefix}TLS_CERTIFICATE"] == str(folder / "tls" / f"{name}.pem")
    assert environment[f"{prefix}TLS_KEY"] == str(folder / "tls" / f"{name}.key")
    assert environment[f"{prefix}TLS_CA"] == str(folder / "tls" / "ca.pem")
    assert environment[f"{prefix}ACCESS_FILE"] == str(ACCESS_FILE)
    assert environment[f"{prefix}LISTEN"] != environment[f"{prefix}METRICS_LISTEN"]


@pytest.mark.parametrize("name", ["command", "signing", "projector", "query"])
def test_every_service_logs_in_as_its_own_role(folder: Path, name: str) -> None:
    dsn = environment_of(name, folder)[f"PAYCORE_{name.upper()}_POSTGRES_DSN"]

    assert dsn.startswith(f"postgresql://paycore_{name}:")


def test_only_the_signing_service_gets_the_keystore(folder: Path) -> None:
    for name in ("command", "projector", "query"):
        assert not any("KEYSTORE" in key for key in environment_of(name, folder))
    assert "PAYCORE_SIGNING_KEYSTORE_PASSPHRASE_FILE" in environment_of("signing", folder)


def test_variables_of_the_caller_are_passed_on_but_not_over_the_stacks(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setenv("PAYCORE_COMMAND_LOG_LEVEL", "debug")
    monkeypatch.setenv("PAYCORE_COMMAND_LISTEN", "0.0.0.0:1")
    monkeypatch.setenv("PAYCORE_QUERY_LOG_LEVEL", "error")

    environment = environment_of("command", folder)

    assert environment["PAYCORE_COMMAND_LOG_LEVEL"] == "debug"
    assert environment["PAYCORE_COMMAND_LISTEN"] != "0.0.0.0:1"
    assert "PAYCORE_QUERY_LOG_LEVEL" not in environment


def test_changes_of_a_test_win(folder: Path) -> None:
    environment = environment_of("command", folder, {"PROCESSES": "1", "LOG_LEVEL": "error"})

    assert environment["PAYCORE_COMMAND_PROCESSES"] == "1"
    assert environment["PAYCORE_COMMAND_LOG_LEVEL"] == "error"


TRANSFERS = "paycore.v1.TransferService"
ACCOUNTS = "paycore.v1.AccountService"
HISTORY = "paycore.v1.HistoryService"
ANALYTICS = "paycore.v1.AnalyticsService"
SIGNING = "paycore.signing.v1.SigningService"

ALLOWED = {
    (TRANSFERS, "SubmitTransfer"): {"app", "loadtest"},
    (TRANSFERS, "SubmitTransfers"): {"app", "loadtest"},
    (TRANSFERS, "LookupTransfer"): {"app", "loadtest", "operator"},
    (ACCOUNTS, "CreateAccount"): {"app", "loadtest"},
    (ACCOUNTS, "CreateAccounts"): {"app", "loadtest"},
    (ACCOUNTS, "GetAccount"): {"app", "loadtest", "operator"},
    (ACCOUNTS, "SetAccountStatus"): {"operator"},
    (HISTORY, "ListTransfers"): {"app", "loadtest", "analyst", "operator"},
    (HISTORY, "GetTransfer"): {"app", "loadtest", "analyst", "operator"},
    (HISTORY, "GetBalance"): {"app", "loadtest", "analyst", "operator"},
    (ANALYTICS, "TransferVolume"): {"app", "loadtest", "analyst", "operator"},
    (ANALYTICS, "TopCounterparties"): {"app", "loadtest", "analyst", "operator"},
    (ANALYTICS, "KindBreakdown"): {"app", "loadtest", "analyst", "operator"},
    (ANALYTICS, "InstitutionPositions"): {"app", "loadtest", "analyst", "operator"},
    (ANALYTICS, "AccountActivity"): {"app", "loadtest", "analyst", "operator"},
    (ANALYTICS, "DeclineStatistics"): {"app", "loadtest", "analyst", "operator"},
    (ANALYTICS, "LatencyOfProjection"): {"app", "loadtest", "analyst", "operator"},
    (SIGNING, "Authorize"): {"command"},
    (SIGNING, "EnrollPin"): {"app", "loadtest"},
    (SIGNING, "GetPublicKeys"): {"app", "loadtest", "command", "operator"},
}
EVERYBODY = (
    "app",
    "loadtest",
    "analyst",
    "operator",
    "stranger",
    "command",
    "signing",
    "projector",
    "query",
    "nobody-we-know",
)


@pytest.mark.parametrize(("service", "method"), ALLOWED)
def test_each_method_is_open_to_exactly_these_identities(service: str, method: str) -> None:
    table = AccessTable.load(ACCESS_FILE)

    found = {client for client in EVERYBODY if table.allows(client, service, method)}

    assert found == ALLOWED[service, method]


def test_the_limits_of_the_stack_are_limits(folder: Path) -> None:
    path = Path(environment_of("command", folder)["PAYCORE_COMMAND_LIMITS_FILE"])
    clients = AccessTable.load(ACCESS_FILE).methods
    table = LimitTable().read(path, clients, ())
    assert set(table.rates("app", "")) == set(RATES)
    assert table.velocity("app") is not None
