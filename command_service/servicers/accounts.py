"""AccountService: opens accounts, shows them, changes what may happen on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from command_service import anew
from command_service.accounts.commands import (
    AccountOutcome,
    AccountRefused,
    AccountStored,
    ChangeStatus,
    OpenAccount,
)
from command_service.accounts.ledger import AccountLedger
from command_service.posting.store import UnreachableError
from command_service.servicers.fields import (
    MAX_AMOUNT,
    MAX_BATCH,
    MAX_INSTITUTION,
    MAX_NAME,
    MAX_REASON,
    Fields,
)
from command_service.servicers.transfer_replies import timestamp
from paycore.domain.accounts import Account, AccountId, AccountKind, AccountStatus
from paycore.domain.errors import PaycoreError, Reason, account_not_found, invalid_field
from paycore.domain.grants import GrantAction
from paycore.domain.idempotency import command_hash
from paycore.domain.money import Currency, Minor
from paycore.domain.rules import Rules
from paycore.domain.transfers import Details
from paycore.runtime.errors import to_status
from paycore.runtime.server import Call
from paycore.v1 import account_pb2, actor_pb2
from paycore.v1 import account_service_pb2 as pb2

_KINDS: dict[int, AccountKind] = {
    account_pb2.ACCOUNT_KIND_CUSTOMER: AccountKind.CUSTOMER,
    account_pb2.ACCOUNT_KIND_EXTERNAL: AccountKind.EXTERNAL,
}
_KIND_CODES = {kind: account_pb2.AccountKind.Value(f"ACCOUNT_KIND_{kind}") for kind in AccountKind}
_STATUSES: dict[int, AccountStatus] = {
    account_pb2.ACCOUNT_STATUS_ACTIVE: AccountStatus.ACTIVE,
    account_pb2.ACCOUNT_STATUS_FROZEN: AccountStatus.FROZEN,
    account_pb2.ACCOUNT_STATUS_CLOSED: AccountStatus.CLOSED,
}
_STATUS_CODES = {
    status: account_pb2.AccountStatus.Value(f"ACCOUNT_STATUS_{status}") for status in AccountStatus
}


class AccountServicer:
    """Translates between messages and the account ledger."""

    def __init__(self, accounts: AccountLedger, rules: Callable[[], Rules], secret: bytes) -> None:
        self._accounts = accounts
        self._rules = rules
        self._secret = secret

    async def CreateAccount(  # noqa: N802  # named by the contract
        self, request: pb2.CreateAccountRequest, call: Call
    ) -> pb2.CreateAccountResponse:
        """Open one account."""
        command = self._parse_opening(request, call.client, "")
        (outcome,) = await self._accounts.open([command], call.deadline_s)
        if isinstance(outcome, AccountRefused):
            raise outcome.error
        return pb2.CreateAccountResponse(
            account=_message(outcome.account, readable=outcome.readable),
            position=_position(outcome),
            replayed=outcome.replayed,
        )

    async def CreateAccounts(  # noqa: N802  # named by the contract
        self, request: pb2.CreateAccountsRequest, call: Call
    ) -> pb2.CreateAccountsResponse:
        """Open many accounts, each with an outcome of its own."""
        count = len(request.accounts)
        if not 1 <= count <= MAX_BATCH:
            raise invalid_field("accounts", f"1 to {MAX_BATCH} accounts, not {count}")
        outcomes: list[AccountOutcome | None] = [None] * count
        commands: list[OpenAccount] = []
        places: list[int] = []
        for index, item in enumerate(request.accounts):
            try:
                commands.append(self._parse_opening(item, call.client, f"accounts[{index}]."))
                places.append(index)
            except PaycoreError as error:
                outcomes[index] = AccountRefused(error)
        if commands:
            stored = await self._accounts.open(commands, call.deadline_s)
            for index, outcome in zip(places, stored, strict=True):
                outcomes[index] = outcome
        return _bulk_reply([outcome for outcome in outcomes if outcome is not None])

    async def GetAccount(  # noqa: N802  # named by the contract
        self, request: pb2.GetAccountRequest, call: Call
    ) -> pb2.GetAccountResponse:
        """Show one account as the primary has it now."""
        fields = Fields()
        fields.positive_id("account_id", request.account_id)
        fields.check()
        try:
            account = await self._accounts.read(AccountId(request.account_id))
        except UnreachableError as error:
            raise anew.database_unavailable() from error
        if account is None:
            raise account_not_found(request.account_id)
        if not self._accounts.may_read(call.client, account):
            raise PaycoreError(
                Reason.NOT_PERMITTED,
                f"{call.client} may not read account {account.id}",
                {"account": str(account.id), "grant": GrantAction.READ},
            )
        return pb2.GetAccountResponse(account=_message(account, readable=True))

    async def SetAccountStatus(  # noqa: N802  # named by the contract
        self, request: pb2.SetAccountStatusRequest, call: Call
    ) -> pb2.SetAccountStatusResponse:
        """Freeze, close or reactivate an account."""
        stored = await self._accounts.change_status(
            self._parse_change(request, call.client), call.deadline_s
        )
        return pb2.SetAccountStatusResponse(
            account=_message(stored.account, readable=stored.readable),
            position=_position(stored),
            replayed=stored.replayed,
        )

    def _parse_opening(
        self, request: pb2.CreateAccountRequest, client: str, prefix: str
    ) -> OpenAccount:
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
        if not 0 <= limit <= MAX_AMOUNT:
            fields.violate("overdraft_limit_minor_units", f"0 to {MAX_AMOUNT} minor units")
        elif limit and kind is AccountKind.EXTERNAL:
            fields.violate("overdraft_limit_minor_units", "0 for an EXTERNAL account: no floor")
        self._read_actor(request.actor, fields, client, named=request.HasField("actor"))
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
            ),
            owner=request.owner,
            institution=request.institution,
            currency=Currency(request.currency),
            kind=kind,
            overdraft_limit=Minor(limit),
        )

    def _check_opening(self, client: str, action: GrantAction, institution: str) -> None:
        grants = self._rules().grants
        if not grants.allows(client, action, opened_by=client, institution=institution):
            raise PaycoreError(
                Reason.NOT_PERMITTED,
                f"{client} lacks the grant {action} at {institution}",
                {"grant": action},
            )

    def _parse_change(self, request: pb2.SetAccountStatusRequest, client: str) -> ChangeStatus:
        fields = Fields()
        fields.key(request.idempotency_key)
        fields.positive_id("account_id", request.account_id)
        status = _STATUSES.get(request.status)
        if status is None:
            fields.violate("status", "ACTIVE, FROZEN or CLOSED")
            status = AccountStatus.ACTIVE
        fields.text("reason", request.reason, MAX_REASON, required=True)
        actor = self._read_actor(request.actor, fields, client, named=request.HasField("actor"))
        fields.check()
        return ChangeStatus(
            client=client,
            key=request.idempotency_key,
            request_hash=command_hash(
                self._secret, "set_account_status/1", request.account_id, status, request.reason
            ),
            account=AccountId(request.account_id),
            status=status,
            expected_revision=(
                request.expected_revision if request.HasField("expected_revision") else None
            ),
            reason=request.reason,
            actor=actor,
        )

    def _read_actor(
        self, actor: actor_pb2.Actor, fields: Fields, client: str, *, named: bool
    ) -> Details:
        fields.actor(actor)
        if named and not self._rules().grants.holds(client, GrantAction.ACT_FOR_USERS):
            raise PaycoreError(
                Reason.NOT_PERMITTED,
                f"{client} may not name an actor",
                {"grant": GrantAction.ACT_FOR_USERS},
            )
        return Details(actor.user_id, actor.device_id, actor.ip_address)


def _bulk_reply(outcomes: Sequence[AccountOutcome]) -> pb2.CreateAccountsResponse:
    latest = max(
        (
            outcome.position
            for outcome in outcomes
            if isinstance(outcome, AccountStored) and outcome.position is not None
        ),
        default=None,
    )
    return pb2.CreateAccountsResponse(
        outcomes=[
            (
                pb2.AccountOutcome(
                    account=_message(outcome.account, readable=outcome.readable),
                    position=_position(outcome),
                    replayed=outcome.replayed,
                )
                if isinstance(outcome, AccountStored)
                else pb2.AccountOutcome(error=to_status(outcome.error))
            )
            for outcome in outcomes
        ],
        position="" if latest is None else latest.encode(),
    )


def _position(stored: AccountStored) -> str:
    return "" if stored.position is None else stored.position.encode()


def _message(account: Account, *, readable: bool) -> account_pb2.Account:
    """An account; without its figures where the caller may not read it."""
    message = account_pb2.Account(
        id=account.id,
        owner=account.owner,
        institution=account.institution,
        currency=account.currency,
        kind=_KIND_CODES[account.kind],
        status=_STATUS_CODES[account.status],
        revision=account.revision,
        opened_by=account.opened_by,
        create_time=timestamp(account.created_at_us),
    )
    if readable:
        message.balance_minor_units = account.balance
        message.held_minor_units = account.held
        message.overdraft_limit_minor_units = account.overdraft_limit
        message.available_minor_units = account.available
        message.version = account.version
    return message
