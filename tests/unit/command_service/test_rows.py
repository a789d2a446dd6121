"""Each field of a record goes to the column of its name, and comes from there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from command_service.posting import rows
from paycore.domain.accounts import Account, AccountId, AccountKind, AccountStatus
from paycore.domain.money import Currency, Minor
from paycore.domain.plan import AuthorizationRow, GroupRow, KeyRow, OutcomeKind, Plan
from paycore.domain.sealed import SealedDetails, SubjectKey, Unreadable
from paycore.domain.transfers import (
    Decline,
    Details,
    StepUpBasis,
    Transfer,
    TransferId,
    TransferKind,
    TransferState,
)
from paycore.runtime.sealing import unseal
from tests.support.samples import authorization

COLUMNS = {
    "ids": "id",
    "debits": "debit_account",
    "credits": "credit_account",
    "amounts": "amount",
    "debit_versions": "debit_version",
    "credit_versions": "credit_version",
    "debit_balances": "debit_balance_after",
    "credit_balances": "credit_balance_after",
    "debit_helds": "debit_held_after",
    "created_us": "created_at_us",
    "effective_us": "effective_at_us",
    "authorization_ids": "authorization_id",
    "kinds": "kind",
    "step_ups": "step_up",
    "currencies": "currency",
    "clients": "client",
    "refs": "reference",
    "details_hashes": "details_hash",
    "parent_ids": "parent_id",
    "parent_sequences": "parent_sequence",
    "parents_remaining": "parent_remaining",
    "parent_states": "parent_state",
    "released": "released",
    "expire_us": "expires_at_us",
    "group_ids": "group_id",
    "reviews": "review",
}
"""Of `write_batch`, by the field of a transfer that it takes."""

ALIKE = {"kinds": "kind", "step_ups": "step_up", "currencies": "currency", "clients": "client"}
"""Columns that are one value where all rows have it."""

OPTIONAL = (
    *Transfer._field_defaults,
    "effective_at_us",
    "authorization_id",
    "reference",
    "details_hash",
)
"""Fields that may be None."""


class Row(tuple[Any, ...]):
    """As much of a row of asyncpg as is asked: its values in order, or by name."""

    names: tuple[str, ...]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Row:
        row = cls(values.values())
        row.names = tuple(values)
        return row

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self.names.index(key) if isinstance(key, str) else key)


def transfer(number: int, **changes: Any) -> Transfer:
    """One whose fields all differ, from each other and from those of other numbers."""
    values: dict[str, Any] = {
        field: 1_000 * number + place for place, field in enumerate(Transfer._fields)
    }
    named = {
        "kind": list(TransferKind)[number],
        "step_up": list(StepUpBasis)[number],
        "currency": Currency(("EUR", "USD", "JPY")[number]),
        "client": f"client-{number}",
        "reference": f"reference-{number}",
        "details_hash": bytes([number]),
        "parent_state": list(TransferState)[number],
        "review": f"rule-{number}",
    }
    return Transfer(**{**values, **named, **changes})


def decline(number: int) -> Decline:
    values: dict[str, Any] = {
        field: 1_000 * number + place for place, field in enumerate(Decline._fields)
    }
    named = {
        "kind": list(TransferKind)[number],
        "currency": Currency("EUR"),
        "client": f"client-{number}",
        "reason": f"REASON_{number}",
        "figures": {"available": str(number)},
        "reference": f"reference-{number}",
        "details_hash": bytes([number]),
    }
    return Decline(**{**values, **named})


def key(number: int, client: str = "shop", outcome: OutcomeKind = OutcomeKind.TRANSFER) -> KeyRow:
    return KeyRow(client, f"key-{number}", 100 + number, outcome, bytes([number]))


def test_an_account_is_read_field_by_field() -> None:
    values: dict[str, Any] = {
        "id": 7, "kind": "EXTERNAL", "status": "FROZEN", "currency": "EUR", "owner": "someone",
        "institution": "bank", "opened_by": "shop", "balance": 11, "held": 12,
        "overdraft_limit": 13, "version": 14, "revision": 15, "last_entry_us": 16,
        "created_at_us": 17,
    }  # fmt: skip
    expected = {**values, "kind": AccountKind.EXTERNAL, "status": AccountStatus.FROZEN}
    assert rows.account(Row.of(values)) == Account(**expected)


@pytest.mark.parametrize("state", [None, TransferState.CAPTURED])
def test_a_transfer_is_read_field_by_field(state: TransferState | None) -> None:
    wanted = transfer(1, parent_state=state)
    stored = {
        **wanted._asdict(),
        "kind": wanted.kind.value,
        "step_up": wanted.step_up.value,
        "parent_state": None if state is None else state.value,
    }
    found = rows.transfer(Row.of(stored))
    assert found == wanted
    assert type(found.kind) is TransferKind
    assert type(found.step_up) is StepUpBasis
    assert state is None or type(found.parent_state) is TransferState
    assert rows.state("CAPTURED") is TransferState.CAPTURED


def test_a_decline_is_read_field_by_field() -> None:
    wanted = decline(1)
    stored = {**wanted._asdict(), "kind": wanted.kind.value, "figures": '{"available": "1"}'}
    found = rows.decline(Row.of(stored))
    assert found == wanted
    assert type(found.kind) is TransferKind


def details_row(**changes: Any) -> Row:
    names = ("id", "erased", "sealed", "owner_key", "actor_key", "user_id", "device_id",
             "ip_address", "description", "metadata")  # fmt: skip
    return Row.of({**dict.fromkeys(names), "id": 7, "erased": False, **changes})


def test_personal_data_is_erased_sealed_or_from_before_it_was_sealed() -> None:
    sealed = {"sealed": b"box", "owner_key": 3, "actor_key": 4}
    assert rows.details(details_row(erased=True, **sealed)) is Unreadable.ERASED
    assert rows.details(details_row(**sealed)) == SealedDetails(7, (3, 4), b"box")
    assert rows.details(details_row(**{**sealed, "actor_key": None})) == (
        SealedDetails(7, (3,), b"box")
    )
    plain = details_row(user_id="ada", device_id="phone", ip_address="192.0.2.7",
                        description="rent", metadata='{"flat": "4b"}')  # fmt: skip
    assert rows.details(plain) == Details("ada", "phone", "192.0.2.7", "rent", {"flat": "4b"})
    assert rows.details(details_row()) == Details("", "", "", "", None)


def test_transfers_are_written_field_by_field() -> None:
    posted = [transfer(0), transfer(1), transfer(2)]
    plan = Plan(transfers=posted, keys=[key(1)], declines=[decline(1), decline(2)])
    written = rows.batch_arguments(plan, 5, 6)
    for column, field in COLUMNS.items():
        assert list(written[column]) == [getattr(one, field) for one in posted], column
    assert [written[one] for one in ALIKE.values()] == [None] * 4
    assert written["declines"] == [1_000, 2_000]
    assert (written["journal_id"], written["journal_us"]) == (5, 6)
    assert written.keys() == {
        *COLUMNS, *ALIKE.values(), "key_client", "key_clients", "key_keys", "key_outcome",
        "key_outcomes", "key_outcome_ids", "key_hashes", "journal_id", "journal_us", "declines",
    }  # fmt: skip


def test_what_all_transfers_have_is_written_once_and_what_none_has_not_at_all() -> None:
    bare: dict[str, Any] = dict.fromkeys(OPTIONAL)
    common = {name: getattr(transfer(0), name) for name in ALIKE.values()}
    posted = [transfer(one, **bare, **common, debit_held_after=Minor(0)) for one in (0, 1)]
    written = rows.batch_arguments(Plan(transfers=posted, keys=[key(1)]), 5, 6)
    assert {name: written[name] for name in common} == common
    for column in (*ALIKE, "debit_helds"):
        assert tuple(written[column]) == (), column
    for column, field in COLUMNS.items():
        if field in OPTIONAL:
            assert tuple(written[column]) == (), column


def test_a_value_that_only_some_transfers_have_is_written_for_all() -> None:
    bare: dict[str, Any] = dict.fromkeys(OPTIONAL)
    posted = [transfer(0, **bare, debit_held_after=Minor(0)), transfer(1)]
    written = rows.batch_arguments(Plan(transfers=posted, keys=[key(1)]), 5, 6)
    assert list(written["debit_helds"]) == [0, posted[1].debit_held_after]
    for column, field in COLUMNS.items():
        if field in OPTIONAL:
            assert list(written[column]) == [None, getattr(posted[1], field)], column


def test_a_batch_without_transfers_writes_its_keys_and_declines() -> None:
    written = rows.batch_arguments(Plan(declines=[decline(1)], keys=[key(1)]), 5, 6)
    for column in COLUMNS:
        assert tuple(written[column]) == (), column
    assert [written[one] for one in ALIKE.values()] == [None] * 4
    assert written["declines"] == [1_000]


def test_keys_are_written_field_by_field() -> None:
    keys = [key(1), key(2, "other", OutcomeKind.DECLINE)]
    written = rows.batch_arguments(Plan(keys=keys), 5, 6)
    assert (written["key_client"], list(written["key_clients"])) == (None, ["shop", "other"])
    assert written["key_outcome"] is None
    assert list(written["key_outcomes"]) == ["TRANSFER", "DECLINE"]
    assert list(written["key_keys"]) == ["key-1", "key-2"]
    assert list(written["key_outcome_ids"]) == [101, 102]
    assert list(written["key_hashes"]) == [b"\1", b"\2"]
    alike = rows.batch_arguments(Plan(keys=[key(1), key(2)]), 5, 6)
    assert (alike["key_client"], tuple(alike["key_clients"])) == ("shop", ())
    assert (alike["key_outcome"], tuple(alike["key_outcomes"])) == ("TRANSFER", ())


def test_groups_are_written_field_by_field() -> None:
    members = (TransferId(11), TransferId(12)), (TransferId(13),)
    groups = [GroupRow(1, 101, "shop", members[0]), GroupRow(2, 102, "other", members[1])]
    assert rows.group_arguments(Plan(groups=groups)) == {
        "ids": (1, 2),
        "created_us": (101, 102),
        "clients": ("shop", "other"),
        "members": ["{11,12}", "{13}"],
    }


def test_declines_are_written_field_by_field() -> None:
    declined = [decline(1), decline(2)]
    written = rows.decline_arguments(Plan(declines=declined))
    figures = written.pop("figures")
    assert [json.loads(one) for one in figures] == [{"available": "1"}, {"available": "2"}]
    names = {
        "ids": "id", "debits": "debit_account", "credits": "credit_account", "amounts": "amount",
        "created_us": "created_at_us", "effective_us": "effective_at_us", "kinds": "kind",
        "currencies": "currency", "clients": "client", "reasons": "reason", "refs": "reference",
        "details_hashes": "details_hash", "parent_ids": "parent_id", "group_ids": "group_id",
    }  # fmt: skip
    assert written == {
        column: tuple(getattr(one, field) for one in declined) for column, field in names.items()
    }


def test_personal_data_is_written_sealed_under_the_keys_of_its_subjects() -> None:
    owner, actor = SubjectKey(3, b"o" * 32), SubjectKey(4, b"a" * 32)
    both = Details("ada", description="rent", keys=(owner, actor))
    own = Details("bob", keys=(owner,))
    written = rows.details_arguments(Plan(details=[(TransferId(7), both), (TransferId(8), own)]))
    assert written.keys() == {"ids", "owner_keys", "actor_keys", "sealed"}
    assert written["ids"] == [7, 8]
    assert written["owner_keys"] == [3, 3]
    assert written["actor_keys"] == [4, None]
    first, second = written["sealed"]
    assert unseal(SealedDetails(7, (3, 4), first), (owner, actor)) == both
    assert unseal(SealedDetails(8, (3,), second), (owner,)) == own


def test_authorizations_are_written_field_by_field() -> None:
    signed = [
        authorization("ada", id=1, signature=b"s1", key_id="key-1"),
        authorization("bob", id=2, signature=b"s2", key_id="key-2", digest=b"d" * 32),
    ]
    stored = [
        AuthorizationRow(TransferId(7), "shop", "one", signed[0]),
        AuthorizationRow(None, "other", "two", signed[1], group_id=8, payer=AccountId(9)),
    ]
    assert rows.authorization_arguments(Plan(authorizations=stored)) == {
        "ids": [1, 2],
        "transfer_ids": [7, None],
        "group_ids": [None, 8],
        "payers": [None, 9],
        "signed_us": [one.signed_at_us for one in signed],
        "issued_us": [one.issued_at_us for one in signed],
        "expires_us": [one.expires_at_us for one in signed],
        "users": ["ada", "bob"],
        "methods": [one.method.value for one in signed],
        "clients": ["shop", "other"],
        "keys": ["one", "two"],
        "key_ids": ["key-1", "key-2"],
        "digests": [signed[0].digest, b"d" * 32],
        "signatures": [b"s1", b"s2"],
    }
