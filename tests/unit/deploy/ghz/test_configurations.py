"""A configuration of each method, which means what the method's request means."""

from __future__ import annotations

import datetime
import json
import random
import re
from collections.abc import Iterator
from itertools import count

import pytest
from google.protobuf.json_format import ParseError

from deploy.ghz.configurations import ECHO, FOLDER, ONCE, Configuration, configurations
from deploy.local.certificates import CALLERS, tls_files
from deploy.local.services import ACCESS_FILE
from deploy.local.state import DEFAULT_STATE, StateFolder
from paycore.runtime.access import AccessTable
from paycore.runtime.tls import server_name
from tests.support.ghz_templates import messages, public_methods, rendered

METHODS = public_methods()
ALL = configurations()
OPTIONS = {
    *("name", "protoset", "call", "cacert", "cert", "key", "cname", "data", "total"),
    *("concurrency", "connections", "timeout", "stream-call-count", "count-errors"),
}
"""Of ghz, those that are used here."""

QUERIES = ("HistoryService", "AnalyticsService")
README = (FOLDER / "README.md").read_text(encoding="utf-8")


def each(configuration: Configuration) -> str:
    return configuration.name


class Things(dict[str, Iterator[str]]):
    """Some of whatever is asked for."""

    def __missing__(self, sort: str) -> Iterator[str]:
        tomorrow = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
        values = {"tomorrow": f"{tomorrow:%Y-%m-%dT%H:%M:%SZ}", "name": "ghz-1", "key": "ghz-2"}
        numbers = count(1)
        self[sort] = iter(lambda: values.get(sort) or str(next(numbers)), "")
        return self[sort]


def test_each_method_has_one_configuration_and_each_configuration_a_method() -> None:
    assert len(METHODS) >= 54
    assert sorted(one.method for one in ALL) == sorted(METHODS)


@pytest.mark.parametrize("one", ALL, ids=each)
def test_a_file_has_the_name_of_its_method(one: Configuration) -> None:
    method = one.method.rpartition("/")[2]
    assert one.values["name"] == method
    assert one.name == re.sub(r"(?<!^)(?=[A-Z])", "-", method).lower()


@pytest.mark.parametrize("one", ALL, ids=each)
def test_its_data_is_a_request_of_the_method(one: Configuration) -> None:
    rng = random.Random(1)
    method = METHODS[one.method]
    sent = messages(method, one.requests(Things(), total=10), rng)
    assert sent
    assert bool(sent[0].ListFields()) is bool(one.values["data"])
    # Keys are made anew for each call, so that none is answered from the one before.
    again = messages(method, one.requests(Things(), total=10), rng)
    for request, other in zip(sent, again, strict=True):
        for key in re.findall(r'idempotency_key: "([^"]+)"', str(request)):
            assert "<key>" in json.dumps(one.values["data"]) or key not in str(other)


@pytest.mark.parametrize("one", ALL, ids=each)
def test_what_is_good_for_one_call_is_there_for_each(one: Configuration) -> None:
    requests = one.requests(Things(), total=7)
    if one.named & ONCE:
        assert len({json.dumps(request) for request in requests}) == len(requests) == 7


@pytest.mark.parametrize("one", ALL, ids=each)
def test_it_is_called_by_who_may_as_the_local_stack_lays_certificates(one: Configuration) -> None:
    service, _, method = one.method.partition("/")
    client = next(name for name in CALLERS if one.values["cert"].endswith(f"/{name}.pem"))
    files = tls_files(StateFolder(DEFAULT_STATE).tls, client)
    laid = (str(files.ca), str(files.certificate), str(files.key))
    assert (one.values["cacert"], one.values["cert"], one.values["key"]) == laid
    assert AccessTable.load(ACCESS_FILE).allows(client, service, method)
    server = "query" if service.rpartition(".")[2] in QUERIES else "command"
    assert one.server == server
    assert one.values["cname"] == server_name(server)


@pytest.mark.parametrize("one", ALL, ids=each)
def test_ghz_knows_what_it_is_told(one: Configuration) -> None:
    assert one.values.keys() <= OPTIONS
    assert one.values["protoset"] in README
    assert one.values["connections"] <= one.values["concurrency"] <= one.total
    # A call without a deadline is refused.
    assert re.fullmatch(r"[1-9]\d*s", one.values["timeout"])
    streams = METHODS[one.method].server_streaming
    assert ("stream-call-count" in one.values) is streams


def test_the_echo_is_the_only_other_file() -> None:
    files = {path.stem for path in FOLDER.glob("*.json")}
    assert files == {ECHO, *(one.name for one in ALL)}


def test_a_template_that_ghz_lacks_and_a_field_that_is_none_are_found() -> None:
    with pytest.raises(ValueError, match="ghz has no"):
        rendered({"owner": "{{env}}"}, random.Random(1))
    method = METHODS["paycore.v1.AccountService/GetAccount"]
    with pytest.raises(ParseError):
        messages(method, {"acount_id": "1"}, random.Random(1))
