"""What becomes of an index whose mapping differs from its file. Pure, but for reading the files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

_MAPPINGS = Path(__file__).parent.parent / "mappings"

_DEFAULTS: Mapping[str, object] = dict.fromkeys(("index", "doc_values", "norms", "enabled"), True)
"""Elasticsearch may leave these out of what it tells."""

_CHANGEABLE = frozenset(
    {"refresh_interval", "auto_expand_replicas", "number_of_replicas", "max_result_window"}
)
"""Settings that an index takes while it is open."""


class Difference(Enum):
    """How far a deployed index is from its file."""

    NONE = "none"
    ADDITIONS = "additions"
    """The file has fields that the index lacks, or settings that can change: done in place."""
    REBUILD = "rebuild"
    """Fields changed or went: only a fresh index can have the mapping of the file."""
    NEWER = "newer"
    """A later release made it: it is left as it is, and no field of ours is missing."""


@cache
def _file(name: str) -> str:
    return (_MAPPINGS / f"{name}.json").read_text("utf-8")


def definition(name: str) -> dict[str, Any]:
    """Settings and mapping of a new index of a kind."""
    content: dict[str, Any] = json.loads(_file(name))
    return content


def version(mappings: Mapping[str, Any]) -> int:
    """The version that a mapping says it is of; 0 where it says none."""
    stated: int = mappings.get("_meta", {}).get("version", 0)
    return stated


def compare(wanted: Mapping[str, Any], deployed: Mapping[str, Any]) -> Difference:
    """Compare a definition with an index as Elasticsearch tells of it (flat settings)."""
    ours, theirs = wanted["mappings"], deployed["mappings"]
    have = _fields(theirs)
    lacking = {name for name in _fields(ours) if name not in have}
    changed = {
        name for name, field in _fields(ours).items() if name in have and have[name] != field
    }
    if version(theirs) > version(ours) and not lacking and not changed:
        return Difference.NEWER
    gone = have.keys() - _fields(ours).keys()
    if changed or gone or _fixed(wanted, deployed):
        return Difference.REBUILD
    if lacking or _dynamic(theirs) != _dynamic(ours) or version(ours) != version(theirs):
        return Difference.ADDITIONS
    return Difference.ADDITIONS if changed_settings(wanted, deployed) else Difference.NONE


def changed_settings(wanted: Mapping[str, Any], deployed: Mapping[str, Any]) -> dict[str, Any]:
    """Those that an open index can be given, where they differ."""
    return {
        name: value
        for name, value in wanted["settings"].items()
        if name in _CHANGEABLE and _setting(deployed, name) != str(value)
    }


def addition(wanted: Mapping[str, Any], deployed: Mapping[str, Any]) -> dict[str, Any]:
    """What put_mapping takes to give an index the fields that it lacks.

    Where it needs a rebuild besides, they let it take documents meanwhile.
    """
    mappings, theirs = wanted["mappings"], deployed["mappings"]
    have = theirs.get("properties", {})
    lacking = {name: field for name, field in mappings["properties"].items() if name not in have}
    only_adds = compare(wanted, deployed) is Difference.ADDITIONS
    return {
        "dynamic": mappings["dynamic"],
        "meta": mappings["_meta"] if only_adds else theirs.get("_meta", {}),
        "properties": lacking,
    }


def _fixed(wanted: Mapping[str, Any], deployed: Mapping[str, Any]) -> bool:
    return any(
        _setting(deployed, name) != str(value)
        for name, value in wanted["settings"].items()
        if name not in _CHANGEABLE
    )


def _setting(deployed: Mapping[str, Any], name: str) -> str | None:
    value = deployed["settings"].get(f"index.{name}")
    return None if value is None else str(value)


def _dynamic(mappings: Mapping[str, Any]) -> str:
    return str(mappings.get("dynamic", "true")).lower()


def _fields(mappings: Mapping[str, Any], prefix: str = "") -> dict[str, dict[str, Any]]:
    """Every field by its full name, with the parameters that are not defaults."""
    found: dict[str, dict[str, Any]] = {}
    for name, field in mappings.get("properties", {}).items():
        own = {
            key: value
            for key, value in field.items()
            if key != "properties" and _DEFAULTS.get(key) is not value
        }
        own.setdefault("type", "object")
        found[prefix + name] = own
        found |= _fields(field, f"{prefix}{name}.")
    return found
