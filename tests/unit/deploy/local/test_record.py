"""`stack.json` can be read by another process, by its owner only, and says when it is damaged."""

import json
import stat
from pathlib import Path

import pytest

from deploy.local.endpoints import Endpoints
from deploy.local.errors import StateUnreadableError
from deploy.local.events import PartState
from deploy.local.identity import ProcessIdentity
from deploy.local.layout import lay_out
from deploy.local.ports import PortClaims
from deploy.local.record import (
    PartRecord,
    Phase,
    StackFile,
    StackRecord,
    endpoints_record,
    load_stack,
    read_record,
)
from deploy.local.settings import StackSettings
from deploy.local.state import StateFolder, ensure_secrets


def endpoints_in(folder: Path, settings: StackSettings | None = None) -> Endpoints:
    state = StateFolder(folder)
    state.create()
    claims = PortClaims()
    try:
        secrets = ensure_secrets(state)
        return lay_out(state, secrets, settings or StackSettings(), claims, {}, 3).endpoints
    finally:
        claims.release()


def test_endpoints_survive_writing_and_loading(folder: Path) -> None:
    endpoints = endpoints_in(folder)
    StackFile(folder / "stack.json", StackRecord()).update(
        lambda record: record.model_copy(update={"endpoints": endpoints_record(endpoints)})
    )

    assert load_stack(folder) == endpoints


def test_the_record_is_closed_to_other_users(folder: Path) -> None:
    file = StackFile(folder / "stack.json", StackRecord())
    file.update(lambda record: record.model_copy(update={"phase": Phase.READY}))

    assert stat.S_IMODE((folder / "stack.json").stat().st_mode) == 0o600


def test_parts_and_the_supervisor_are_recorded(folder: Path) -> None:
    own = ProcessIdentity.own()
    part = PartRecord(state=PartState.READY, restarts=2, process=own, log=folder / "log")
    file = StackFile(folder / "stack.json", StackRecord(supervisor=own))
    file.update(lambda record: record.model_copy(update={"parts": {"redis": part}}))

    found = read_record(folder / "stack.json")

    assert found.parts == {"redis": part}
    assert found.is_run_by_a_living_process()


def test_a_folder_without_a_stack_says_how_to_start_one(folder: Path) -> None:
    assert read_record(folder / "stack.json") == StackRecord()
    with pytest.raises(StateUnreadableError, match="make up"):
        load_stack(folder)


def test_a_damaged_record_is_reported_without_its_values(folder: Path) -> None:
    damaged = {"phase": "ready", "endpoints": {"redis_url": "redis://:canary@127.0.0.1:1/0"}}
    (folder / "stack.json").write_text(json.dumps(damaged))

    with pytest.raises(StateUnreadableError, match=r"endpoints\.command_target") as caught:
        read_record(folder / "stack.json")

    assert "canary" not in str(caught.value)


def test_printing_endpoints_shows_no_password(folder: Path) -> None:
    endpoints = endpoints_in(folder)

    shown = repr(endpoints)
    for secret in json.loads((folder / "secrets.json").read_text())["roles"].values():
        assert secret not in shown
    assert endpoints.elasticsearch_password not in shown
    assert endpoints.command_target in shown


def test_each_command_process_has_a_metrics_address(folder: Path) -> None:
    urls = endpoints_in(folder).metrics_urls["command"]

    ports = [int(url.split(":")[2].split("/")[0]) for url in urls]
    assert ports == [ports[0], ports[0] + 1, ports[0] + 2]


def test_servers_that_run_already_are_used(folder: Path) -> None:
    settings = StackSettings.model_validate(
        {
            "postgres_dsn": "postgresql://admin:a%40b@db.internal:6432/postgres?sslmode=require",
            "redis_url": "rediss://:pw@cache.internal:6380/2",
            "elasticsearch_url": "https://search.internal:9200",
            "elasticsearch_user": "paycore",
            "elasticsearch_password": "pw",
        }
    )

    endpoints = endpoints_in(folder, settings)

    command = endpoints.postgres_dsn["paycore_command"]
    assert command.startswith("postgresql://paycore_command:")
    assert command.endswith("@db.internal:6432/paycore?sslmode=require")
    assert endpoints.postgres_admin_dsn.startswith("postgresql://admin:a%40b@db.internal")
    assert endpoints.redis_url == "rediss://:pw@cache.internal:6380/2"
    assert endpoints.elasticsearch_url == "https://search.internal:9200"
    assert endpoints.elasticsearch_user == "paycore"


def test_a_test_can_have_a_database_of_its_own(folder: Path) -> None:
    endpoints = endpoints_in(folder)

    dsn = endpoints.dsn("paycore_owner", "test_7")

    assert dsn.endswith("/test_7?sslmode=disable")
    assert dsn.startswith("postgresql://paycore_owner:")
