"""What the requests of all changes of policy have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from command_service.servicers.fields import MAX_AMOUNT, MAX_REASON, Fields
from paycore.domain.grants import check_actor
from paycore.domain.rules import Rules
from paycore.domain.transfers import Details

DEFAULT_PAGE, LARGEST_PAGE = 50, 500


class PolicyFrame:
    """Checks key, reason and actor."""

    def __init__(self, rules: Callable[[], Rules]) -> None:
        self._rules = rules

    def actor(self, request: Any, fields: Fields, client: str) -> Details:
        """For whom the change is made. Raises PaycoreError NOT_PERMITTED."""
        fields.key(request.idempotency_key)
        fields.text("reason", request.reason, MAX_REASON, required=True)
        actor = request.actor
        fields.actor(actor)
        check_actor(self._rules().grants, client, named=request.HasField("actor"))
        return Details(actor.user_id, actor.device_id, actor.ip_address)


def expected_revision(request: Any) -> int | None:
    """At which revision what is to be changed must stand; None where that does not matter."""
    return request.expected_revision if request.HasField("expected_revision") else None


def check_amount(field: str, amount: int, fields: Fields) -> None:
    """An amount of minor units that may be zero."""
    if not 0 <= amount <= MAX_AMOUNT:
        fields.violate(field, f"0 to {MAX_AMOUNT} minor units")


def page_size(size: int, fields: Fields) -> int:
    """How many are wanted of a list."""
    if not 0 <= size <= LARGEST_PAGE:
        fields.violate("page_size", f"0 to {LARGEST_PAGE}")
    return size or DEFAULT_PAGE
