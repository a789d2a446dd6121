"""Whether an index can be brought up to its file in place is read from its content."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from projector.sinks.elastic_mappings import (
    Difference,
    addition,
    changed_settings,
    compare,
    definition,
)

KINDS = ("transfers", "accounts", "positions")


def deployed(name: str = "transfers") -> dict[str, Any]:
    """The index as Elasticsearch tells of it when it was made from the file."""
    told = copy.deepcopy(definition(name))
    told["settings"] = {f"index.{key}": str(value) for key, value in told["settings"].items()}
    return told


@pytest.mark.parametrize("name", KINDS)
def test_what_was_made_from_the_file_is_like_it(name: str) -> None:
    assert compare(definition(name), deployed(name)) is Difference.NONE


def test_defaults_that_are_told_or_left_out_are_no_difference() -> None:
    told = deployed()
    told["mappings"]["properties"]["kind"]["doc_values"] = True
    told["mappings"]["dynamic"] = "STRICT"
    assert compare(definition("transfers"), told) is Difference.NONE


def test_lacking_fields_and_changeable_settings_are_added() -> None:
    told = deployed()
    del told["mappings"]["properties"]["review"]
    told["mappings"]["_meta"]["version"] = 1
    wanted = definition("transfers")
    assert compare(wanted, told) is Difference.ADDITIONS
    added = addition(wanted, told)
    assert list(added["properties"]) == ["review"]
    assert added["meta"] == wanted["mappings"]["_meta"]
    told = deployed()
    told["settings"]["index.refresh_interval"] = "1s"
    assert compare(wanted, told) is Difference.ADDITIONS
    assert changed_settings(wanted, told) == {"refresh_interval": "-1"}


@pytest.mark.parametrize(
    "change",
    [
        {"type": "text"},
        {"type": "keyword"},
        {"type": "keyword", "doc_values": False, "index": False},
        {"type": "keyword", "doc_values": False, "ignore_above": 10},
    ],
)
def test_a_field_that_changed_needs_a_rebuild_and_what_is_new_is_added_meanwhile(
    change: dict[str, Any],
) -> None:
    told = deployed()
    told["mappings"]["properties"]["reference"] = change
    del told["mappings"]["properties"]["review"]
    wanted = definition("transfers")
    assert compare(wanted, told) is Difference.REBUILD
    added = addition(wanted, told)
    assert list(added["properties"]) == ["review"]
    assert added["meta"] == told["mappings"]["_meta"]


def test_a_field_that_went_and_a_fixed_setting_need_a_rebuild() -> None:
    told = deployed()
    told["mappings"]["properties"]["gone"] = {"type": "long"}
    assert compare(definition("transfers"), told) is Difference.REBUILD
    told = deployed()
    told["settings"]["index.number_of_shards"] = "3"
    assert compare(definition("transfers"), told) is Difference.REBUILD


def test_what_a_later_release_made_is_left_as_it_is() -> None:
    told = deployed()
    told["mappings"]["_meta"]["version"] += 1
    told["mappings"]["properties"]["later"] = {"type": "long"}
    assert compare(definition("transfers"), told) is Difference.NEWER
    told["mappings"]["properties"]["reference"] = {"type": "text"}
    assert compare(definition("transfers"), told) is Difference.REBUILD


def test_fields_of_fields_are_compared_too() -> None:
    wanted, told = deployed(), deployed()
    for one in (wanted, told):
        one["mappings"]["properties"]["whole"] = {"properties": {"part": {"type": "long"}}}
    wanted["settings"] = definition("transfers")["settings"]
    assert compare(wanted, told) is Difference.NONE
    told["mappings"]["properties"]["whole"]["properties"]["part"]["type"] = "keyword"
    assert compare(wanted, told) is Difference.REBUILD
