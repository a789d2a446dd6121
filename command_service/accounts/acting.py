"""Telling the tables for whom a transaction acts: they write the audit themselves."""

from __future__ import annotations

from typing import Any

import asyncpg

from paycore.domain.transfers import Details


async def act_as(
    queries: Any,
    connection: asyncpg.Connection,
    client: str,
    actor: Details,
    *,
    reason: str = "",
    audit_id: int | None = None,
) -> None:
    """From now on, to the end of the transaction. `audit_id` is that of the next audit row.

    `queries` are those of accounts.sql.
    """
    await queries.act_as(
        connection,
        client=client,
        user_id=actor.user_id,
        device_id=actor.device_id,
        ip_address=actor.ip_address,
        reason=reason,
        audit_id="" if audit_id is None else str(audit_id),
    )
