"""From the requests of account commands to the commands."""

from __future__ import annotations

from collections.abc import Callable

from command_service.accounts.commands import (
    NO_METADATA,
    ChangeStatus,
    LinkIdentifier,
    OpenAccount,
    SetLimit,
)
from command_service.servicers.fields import (
    MAX_AMOUNT,
    MAX_INSTITUTION,
    MAX_NAME,
    MAX_REASON,
    Fields,
)
from paycore.domain.accounts import AccountId, AccountKind, AccountStatus
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.grants import GrantAction, check_actor
from paycore.domain.idempotency import command_hash, flattened
from paycore.domain.identifiers import ExternalIdentifier
from paycore.domain.money import Currency, Minor
from paycore.domain.rules import Rules
from paycore.domain.transfers import Details
from paycore.runtime.account_names import ACCOUNT
from paycore.v1 import account_pb2, actor_pb2
from paycore.v1 import account_service_pb2 as pb2

_KINDS: dict[int, AccountKind] = {
    account_pb2.ACCOUNT_KIND_CUSTOMER: AccountKind.CUSTOMER,
    account_pb2.ACCOUNT_KIND_EXTERNAL: AccountKind.EXTERNAL,
}
_STATUSES: dict[int, AccountStatus] = {
    account_pb2.ACCOUNT_STATUS_ACTIVE: AccountStatus.ACTIVE,
    account_pb2.ACCOUNT_STATUS_FROZEN: AccountStatus.FROZEN,
    account_pb2.ACCOUNT_STATUS_CLOSED: AccountStatus.CLOSED,
}


class AccountRequests:
    """Checks requests and translates them; accounts must be named by id by then.

    Each method raises PaycoreError INVALID_FIELD with every bad field, and NOT_PERMITTED.
    """

    def __init__(self, rules: Callable[[], Rules], secret: bytes) -> None:
        """`secret` is the key of request hashes."""
        self._rules = rules
        self._secret = secret

    def opening(
        self, request: pb2.CreateAccountRequest, client: str, prefix: str = ""
    ) -> OpenAccount:
        """An opening; `prefix` is the path of `request` in a bulk one."""
        fields = Fields(prefix)
        fields.key(request.idempotency_key)
        fields.text("owner", request.owner, MAX_NAME, required=True)
        fields.text("institution", request.institution, MAX_INSTITUTION, required=True)
        fields.currency("currency", request.currency)
        kind = _KINDS.get(request.kind)
        limit = request.overdraft_limit_minor_units
        if kind is None:
            fields.violate("kind", "CUSTOMER or EXTERNAL")
            kind = AccountKind.CUSTOMER
        _check_limit(limit, fields)
        if limit > 0 and kind is AccountKind.EXTERNAL:
            fields.violate("overdraft_limit_minor_units", "0 for an EXTERNAL account: no floor")
        metadata = dict(request.metadata) or NO_METADATA
        fields.metadata(metadata)
        actor = self._actor(request.actor, fields, client, named=request.HasField("actor"))
        fields.check()
        if kind is AccountKind.EXTERNAL:
            self._check_opening(client, GrantAction.OPEN_EXTERNAL, request.institution)
        if limit:
            self._check_opening(client, GrantAction.SET_OVERDRAFT, request.institution)
        return OpenAccount(
            client=client,
            key=request.idempotency_key,
            request_hash=command_hash(
                self._secret,
                "open_account/1",
                request.owner,
                request.institution,
                request.currency,
                kind,
                limit,
                *flattened(metadata),
            ),
            owner=request.owner,
            institution=request.institution,
            currency=Currency(request.currency),
            kind=kind,
            overdraft_limit=Minor(limit),
            metadata=metadata,
            actor=actor,
        )

    def status(self, request: pb2.SetAccountStatusRequest, client: str) -> ChangeStatus:
        """A change of an account's status."""
        fields = Fields()
        fields.key(request.idempotency_key)
        fields.account(request, ACCOUNT)
        status = _STATUSES.get(request.status)
        if status is None:
            fields.violate("status", "ACTIVE, FROZEN or CLOSED")
            status = AccountStatus.ACTIVE
        fields.text("reason", request.reason, MAX_REASON, required=True)
        actor = self._actor(request.actor, fields, client, named=request.HasField("actor"))
        fields.check()
        return ChangeStatus(
            client=client,
            key=request.idempotency_key,
            request_hash=command_hash(
                self._secret, "set_account_status/1", request.account_id, status, request.reason
            ),
            account=AccountId(request.account_id),
            status=status,
            expected_revision=_expected_revision(request),
            reason=request.reason,
            actor=actor,
        )

    def limit(self, request: pb2.SetOverdraftLimitRequest, client: str) -> SetLimit:
        """A change of how far below zero an account may go."""
        fields = Fields()
        fields.key(request.idempotency_key)
        fields.account(request, ACCOUNT)
        limit = request.overdraft_limit_minor_units
        _check_limit(limit, fields)
        fields.text("reason", request.reason, MAX_REASON, required=True)
        actor = self._actor(request.actor, fields, client, named=request.HasField("actor"))
        fields.check()
        return SetLimit(
            client=client,
            key=request.idempotency_key,
            request_hash=command_hash(
                self._secret, "set_overdraft_limit/1", request.account_id, limit, request.reason
            ),
            account=AccountId(request.account_id),
            limit=Minor(limit),
            expected_revision=_expected_revision(request),
            reason=request.reason,
            actor=actor,
        )

    def link(self, request: pb2.LinkExternalIdentifierRequest, client: str) -> LinkIdentifier:
        """A new name of an account."""
        fields = Fields()
        fields.key(request.idempotency_key)
        fields.positive_id("account_id", request.account_id)
        fields.identifier("identifier", request.identifier)
        actor = self._actor(request.actor, fields, client, named=request.HasField("actor"))
        fields.check()
        identifier = ExternalIdentifier(request.identifier.scheme, request.identifier.value)
        return LinkIdentifier(
            client=client,
            key=request.idempotency_key,
            request_hash=command_hash(
                self._secret, "link_external_identifier/1", request.account_id, *identifier
            ),
            account=AccountId(request.account_id),
            identifier=identifier,
            actor=actor,
        )

    def _check_opening(self, client: str, action: GrantAction, institution: str) -> None:
        grants = self._rules().grants
        if not grants.allows(client, action, opened_by=client, institution=institution):
            raise PaycoreError(
                Reason.NOT_PERMITTED,
                f"{client} lacks the grant {action} at {institution}",
                {"grant": action},
            )

    def _actor(
        self, actor: actor_pb2.Actor, fields: Fields, client: str, *, named: bool
    ) -> Details:
        fields.actor(actor)
        check_actor(self._rules().grants, client, named=named)
        return Details(actor.user_id, actor.device_id, actor.ip_address)


def _check_limit(limit: int, fields: Fields) -> None:
    if not 0 <= limit <= MAX_AMOUNT:
        fields.violate("overdraft_limit_minor_units", f"0 to {MAX_AMOUNT} minor units")


def _expected_revision(
    request: pb2.SetAccountStatusRequest | pb2.SetOverdraftLimitRequest,
) -> int | None:
    return request.expected_revision if request.HasField("expected_revision") else None
