"""The record of verifications that found the ledger whole."""

from __future__ import annotations

import json
from typing import Any

import asyncpg

from operations.verify.report import Report
from operations.verify.scope import Scope, Snapshot


async def record(
    connection: asyncpg.Connection,
    queries: Any,
    report: Report,
    scope: Scope,
    snapshot: Snapshot,
) -> None:
    """Write down that everything which `snapshot` could see was verified."""
    async with connection.transaction():
        # The role reads only, but for this row.
        await queries.allow_record(connection)
        await queries.record(
            connection,
            epoch=report.position.epoch,
            xid=report.position.xid,
            journal_id=report.position.journal_id,
            snapshot=snapshot,
            since=scope.verification,
            checks=json.dumps({check.rule: check.examined for check in report.checks}),
        )
