"""What is sealed, byte by byte: the vectors that other implementations are to reproduce."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paycore.domain.chain import (
    BEGINNING,
    JournalFields,
    SealedRow,
    encode,
    next_seal,
    row_digest,
    seal_hash,
)

VECTORS: Mapping[str, Any] = json.loads(
    Path(__file__).with_name("chain_vectors.json").read_text(encoding="utf-8")
)
EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "follow_chain.py"


@pytest.fixture(scope="module")
def program() -> Any:
    """The program of docs/examples."""
    spec = importlib.util.spec_from_file_location("follow_chain", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row_of(vector: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: bytes.fromhex(value["hex"]) if isinstance(value, dict) else value
        for name, value in vector.items()
    }


@pytest.mark.parametrize("vector", VECTORS["rows"], ids=lambda vector: vector["name"])
def test_rows_have_these_leaves(program: Any, vector: Mapping[str, Any]) -> None:
    layout = {"transfer": program.TRANSFER, "decline": program.DECLINE}.get(
        vector["word"], program.ACCOUNT
    )
    columns = [column.split(":") for column in layout.split()]
    row = row_of(vector["row"])
    fields = [(program.TYPES[kind], row[name]) for name, kind in columns]
    record = program.encode([(program.TEXT, vector["word"]), *fields])
    assert record.hex() == vector["record"]
    assert program.leaf(vector["word"], layout, row).hex() == vector["leaf"]


def test_a_journal_row_has_this_digest(program: Any) -> None:
    vector = VECTORS["journal"]
    leaves = [bytes.fromhex(leaf) for leaf in vector["leaves"]]
    assert row_digest(JournalFields(**vector["row"]), leaves).hex() == vector["digest"]
    assert program.digest(vector["row"], leaves).hex() == vector["digest"]


@pytest.mark.parametrize("place", range(2))
def test_seals_have_these_hashes(program: Any, place: int) -> None:
    vector = VECTORS["seals"][place]
    rows = [
        SealedRow(row["xid"], row["journal_id"], bytes.fromhex(row["digest"]))
        for row in vector["rows"]
    ]
    last = None
    if place:
        last = next_seal(
            None,
            [SealedRow(r["xid"], r["journal_id"], bytes.fromhex(r["digest"]))
             for r in VECTORS["seals"][0]["rows"]],
            epoch=1,
            now_us=VECTORS["seals"][0]["sealed_at_us"],
        )  # fmt: skip
    seal = next_seal(last, rows, epoch=vector["epoch"], now_us=vector["sealed_at_us"])
    assert seal.number == place + 1
    assert seal.previous == (last.hash if last else BEGINNING)
    assert seal.hash.hex() == vector["hash"]
    named = {name: getattr(seal, name) for name in seal.__dataclass_fields__}
    assert program.seal_hash(named).hex() == vector["hash"]


fields = st.lists(
    st.integers(-(2**63), 2**63 - 1) | st.text(max_size=9) | st.binary(max_size=9), max_size=5
)


@given(fields, fields)
def test_different_fields_have_different_bytes(one: list[Any], other: list[Any]) -> None:
    same = one == other and list(map(type, one)) == list(map(type, other))
    assert (encode(*one) == encode(*other)) is same


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=4), st.integers(0, 3))
def test_a_seal_depends_on_each_digest_and_their_order(digests: list[bytes], place: int) -> None:
    def sealed(of: list[bytes]) -> bytes:
        rows = [SealedRow(7, number, digest) for number, digest in enumerate(of)]
        return seal_hash(next_seal(None, rows, epoch=1, now_us=1))

    changed = list(digests)
    changed[place % len(digests)] = hashlib.sha256(digests[place % len(digests)]).digest()
    assert sealed(changed) != sealed(digests)
    if len(set(digests)) > 1:
        turned = digests[1:] + digests[:1]
        assert (sealed(turned) == sealed(digests)) is (turned == digests)
