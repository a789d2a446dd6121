"""Between the domain's records and the rows and arrays of the queries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from paycore.domain.accounts import Account, AccountKind, AccountStatus
from paycore.domain.plan import Plan
from paycore.domain.sealed import SealedDetails, Unreadable
from paycore.domain.transfers import (
    Decline,
    Details,
    StepUpBasis,
    StoredDetails,
    Transfer,
    TransferKind,
    TransferState,
)
from paycore.runtime.sealing import key_ids, seal

_ACCOUNT_KINDS = {kind.value: kind for kind in AccountKind}
_STATUSES = {status.value: status for status in AccountStatus}
_KINDS = {kind.value: kind for kind in TransferKind}
_BASES = {basis.value: basis for basis in StepUpBasis}
_STATES = {state.value: state for state in TransferState}


def account(row: Any) -> Account:
    """The account in a row of `lock_accounts` or `read_accounts`."""
    (
        account_id, kind, status, currency, owner, institution, opened_by, balance, held,
        overdraft_limit, version, revision, last_entry_us, created_at_us,
    ) = row  # fmt: skip
    return Account(
        account_id, _ACCOUNT_KINDS[kind], _STATUSES[status], currency, owner, institution,
        opened_by, balance, held, overdraft_limit, version, revision, last_entry_us, created_at_us,
    )  # fmt: skip


def transfer(row: Any) -> Transfer:
    """The transfer in a row of `find_transfers`."""
    found = Transfer(*row)
    return found._replace(
        kind=_KINDS[found.kind],
        step_up=_BASES[found.step_up],
        parent_state=None if found.parent_state is None else _STATES[found.parent_state],
    )


def state(name: str) -> TransferState:
    """The state of that name."""
    return _STATES[name]


def decline(row: Any) -> Decline:
    """The decline in a row of `find_declines`."""
    found = Decline(*row)
    return found._replace(kind=_KINDS[found.kind], figures=json.loads(row["figures"]))


def details(row: Any) -> StoredDetails:
    """The personal data in a row of `find_details`."""
    if row["erased"]:
        return Unreadable.ERASED
    if row["sealed"] is not None:
        return SealedDetails(row["id"], key_ids(row["owner_key"], row["actor_key"]), row["sealed"])
    # Written before personal data was sealed.
    metadata = row["metadata"]
    return Details(
        row["user_id"] or "",
        row["device_id"] or "",
        row["ip_address"] or "",
        row["description"] or "",
        None if metadata is None else json.loads(metadata),
    )


def batch_arguments(plan: Plan, journal_id: int, journal_us: int) -> dict[str, Any]:
    """Arguments of `write_batch`: a column each. `plan` has a key at least."""
    transfers = _columns(plan.transfers) or [()] * len(Transfer._fields)
    keys = _columns(plan.keys)
    kind, kinds = _alike(transfers[12])
    step_up, step_ups = _alike(transfers[13])
    currency, currencies = _alike(transfers[14])
    client, clients = _alike(transfers[15])
    key_client, key_clients = _alike(keys[0])
    key_outcome, key_outcomes = _alike(keys[3])
    return {
        "ids": transfers[0],
        "debits": transfers[1],
        "credits": transfers[2],
        "amounts": transfers[3],
        "debit_versions": transfers[4],
        "credit_versions": transfers[5],
        "debit_balances": transfers[6],
        "credit_balances": transfers[7],
        "debit_helds": transfers[8] if any(transfers[8]) else (),
        "created_us": transfers[9],
        "effective_us": _filled(transfers[10]),
        "authorization_ids": _filled(transfers[11]),
        "kind": kind,
        "kinds": kinds,
        "step_up": step_up,
        "step_ups": step_ups,
        "currency": currency,
        "currencies": currencies,
        "client": client,
        "clients": clients,
        "refs": _filled(transfers[16]),
        "details_hashes": _filled(transfers[17]),
        "parent_ids": _filled(transfers[18]),
        "parent_sequences": _filled(transfers[19]),
        "parents_remaining": _filled(transfers[20]),
        "parent_states": _filled(transfers[21]),
        "released": _filled(transfers[22]),
        "expire_us": _filled(transfers[23]),
        "group_ids": _filled(transfers[24]),
        "reviews": _filled(transfers[25]),
        "key_client": key_client,
        "key_clients": key_clients,
        "key_keys": keys[1],
        "key_outcome": key_outcome,
        "key_outcomes": key_outcomes,
        "key_outcome_ids": keys[2],
        "key_hashes": keys[4],
        "journal_id": journal_id,
        "journal_us": journal_us,
        "declines": [row.id for row in plan.declines],
    }


def group_arguments(plan: Plan) -> dict[str, Any]:
    """Arguments of `write_groups`, of which `plan` has some."""
    columns = _columns(plan.groups)
    return {
        "ids": columns[0],
        "created_us": columns[1],
        "clients": columns[2],
        "members": ["{" + ",".join(map(str, members)) + "}" for members in columns[3]],
    }


def decline_arguments(plan: Plan) -> dict[str, Any]:
    """Arguments of `write_declines`, of which `plan` has some."""
    columns = _columns(plan.declines)
    return {
        "ids": columns[0],
        "debits": columns[1],
        "credits": columns[2],
        "amounts": columns[3],
        "created_us": columns[4],
        "effective_us": columns[5],
        "kinds": columns[6],
        "currencies": columns[7],
        "clients": columns[8],
        "reasons": columns[9],
        "figures": [json.dumps(dict(figures)) for figures in columns[10]],
        "refs": columns[11],
        "details_hashes": columns[12],
        "parent_ids": columns[13],
        "group_ids": columns[14],
    }


def details_arguments(plan: Plan) -> dict[str, Any]:
    """Arguments of `write_details`."""
    sealed = [seal(row_id, record) for row_id, record in plan.details]
    return {
        "ids": [one.row_id for one in sealed],
        "owner_keys": [one.key_ids[0] for one in sealed],
        "actor_keys": [one.key_ids[1] if len(one.key_ids) > 1 else None for one in sealed],
        "sealed": [one.sealed for one in sealed],
    }


def authorization_arguments(plan: Plan) -> dict[str, Any]:
    """Arguments of `write_authorizations`."""
    rows = plan.authorizations
    signed = [row.authorization for row in rows]
    return {
        "ids": [one.id for one in signed],
        "transfer_ids": [row.transfer_id for row in rows],
        "group_ids": [row.group_id for row in rows],
        "payers": [row.payer for row in rows],
        "signed_us": [one.signed_at_us for one in signed],
        "issued_us": [one.issued_at_us for one in signed],
        "expires_us": [one.expires_at_us for one in signed],
        "users": [one.user_id for one in signed],
        "methods": [one.method.value for one in signed],
        "clients": [row.client for row in rows],
        "keys": [row.key for row in rows],
        "key_ids": [one.key_id for one in signed],
        "digests": [one.digest for one in signed],
        "signatures": [one.signature for one in signed],
    }


def _columns(rows: Sequence[tuple[Any, ...]]) -> Sequence[Sequence[Any]]:
    return list(zip(*rows, strict=True))


def _filled(column: Sequence[Any]) -> Sequence[Any]:
    """`column`, or nothing where it holds nothing: encoding a thousand NULLs takes its time."""
    return () if column.count(None) == len(column) else column


def _alike(column: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
    """The value that all of `column` have, if there is one, and else the column itself.

    A text or a label a thousand times takes its time here and there.
    """
    if column and column.count(column[0]) == len(column):
        return column[0], ()
    return None, column
