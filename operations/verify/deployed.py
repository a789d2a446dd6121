"""Verification of a deployment: its ledger, its index, its signer's keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import asyncpg
from elasticsearch import TransportError as ElasticsearchUnreachableError

from operations.deployment import Deployment
from operations.errors import UnavailableError, UsageError
from operations.verify.chain import ChainReport, verify_chain
from operations.verify.chain_rules import Head
from operations.verify.readers import Progress, no_progress
from operations.verify.report import Report
from operations.verify.scope import Since
from operations.verify.verify import verify_ledger
from paycore.client import KeyPurpose


async def verify_deployment(
    deployment: Deployment,
    *,
    wait_s: float = 60.0,
    with_index: bool = True,
    since: Since = None,
    progress: Progress = no_progress,
) -> Report:
    """Verify the ledger of `deployment`, with its signer's keys and its index where they are named.

    Raises UsageError without a DSN or a place to go on from, UnavailableError when a store cannot
    be reached, ClientError when the signing service cannot.
    """
    if deployment.audit_dsn is None:
        raise UsageError("verification reads the ledger: set PAYCORE_AUDIT_DSN")
    index = None
    if with_index and deployment.index is not None:
        index = replace(deployment.index, wait_s=wait_s)
    try:
        return await verify_ledger(
            deployment.audit_dsn,
            index=index,
            authorization_keys=await _keys(deployment),
            since=since,
            progress=progress,
        )
    except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError) as error:
        raise UnavailableError(f"PostgreSQL cannot be reached: {error}") from error
    except ElasticsearchUnreachableError as error:
        raise UnavailableError(f"Elasticsearch cannot be reached: {error}") from error


async def verify_deployed_chain(
    deployment: Deployment,
    *,
    start: int = 1,
    head: Head | None = None,
    progress: Progress = no_progress,
) -> ChainReport:
    """Follow the chain of seals of `deployment` from seal number `start` on.

    Raises UsageError without a DSN or for a wrong start, UnavailableError when PostgreSQL cannot be
    reached.
    """
    if deployment.audit_dsn is None:
        raise UsageError("verification reads the ledger: set PAYCORE_AUDIT_DSN")
    try:
        return await verify_chain(deployment.audit_dsn, start=start, head=head, progress=progress)
    except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError) as error:
        raise UnavailableError(f"PostgreSQL cannot be reached: {error}") from error


async def _keys(deployment: Deployment) -> Mapping[str, bytes] | None:
    if "signing" not in deployment.targets:
        return None
    async with deployment.client() as client:
        keys = await client.public_keys()
    return {key.key_id: key.public_key for key in keys if key.purpose is KeyPurpose.AUTHORIZATION}
