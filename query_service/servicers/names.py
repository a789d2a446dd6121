"""Accounts that requests name by external identifiers."""

from __future__ import annotations

from typing import Any

from paycore.runtime.account_names import Named, names_by_identifier
from paycore.runtime.identifiers import Identifiers
from query_service.access import Access


async def name_accounts(
    identifiers: Identifiers, access: Access, client: str, request: Any, *places: Named
) -> None:
    """Put ids in the place of the identifiers in `request`, for a client that may read accounts.

    Raises PaycoreError NOT_PERMITTED, ACCOUNT_NOT_FOUND or DATABASE_UNAVAILABLE.
    """
    if names_by_identifier(request, *places):
        access.check_reads(client)
        await identifiers.name_by_id(request, *places)
