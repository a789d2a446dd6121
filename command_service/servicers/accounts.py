"""AccountService: opens accounts, shows them, changes what may happen on them."""

from __future__ import annotations

from command_service import anew
from command_service.accounts.commands import (
    AccountChange,
    AccountOutcome,
    AccountRefused,
    OpenAccount,
)
from command_service.accounts.ledger import AccountLedger
from command_service.admission.velocity import Velocity
from command_service.posting.store import UnreachableError
from command_service.refusals import Refusals
from command_service.servicers.account_replies import (
    AccountReply,
    account_message,
    bulk_reply,
    fill_account,
)
from command_service.servicers.account_requests import AccountRequests
from command_service.servicers.fields import MAX_BATCH, Fields
from command_service.servicers.intake import Exceeding
from paycore.domain.accounts import AccountId
from paycore.domain.errors import (
    PaycoreError,
    Reason,
    account_not_found,
    identifier_not_found,
    invalid_field,
)
from paycore.domain.grants import GrantAction
from paycore.domain.identifiers import ExternalIdentifier
from paycore.runtime.account_names import ACCOUNT
from paycore.runtime.identifiers import Identifiers
from paycore.runtime.server import Call
from paycore.v1 import account_service_pb2 as pb2

MANY = "paycore.v1.AccountService/CreateAccounts"


class AccountServicer:
    """Translates between messages and the account ledger."""

    def __init__(
        self,
        accounts: AccountLedger,
        identifiers: Identifiers,
        requests: AccountRequests,
        velocity: Velocity | None = None,
        exceeding: Exceeding | None = None,
        refusals: Refusals | None = None,
    ) -> None:
        """Without `velocity` devices link what they like, without `exceeding` the actors of
        CreateAccounts have no limits. `refusals` are told of its items that are refused."""
        self._refusals = refusals
        self._accounts = accounts
        self._identifiers = identifiers
        self._requests = requests
        self._velocity = velocity
        self._exceeding = exceeding

    async def CreateAccount(  # noqa: N802  # named by the contract
        self, request: pb2.CreateAccountRequest, call: Call
    ) -> pb2.CreateAccountResponse:
        """Open one account."""
        command = self._requests.opening(request, call.client)
        (outcome,) = await self._accounts.open([command], call.deadline_s)
        if isinstance(outcome, AccountRefused):
            raise outcome.error
        reply = pb2.CreateAccountResponse()
        fill_account(reply, outcome)
        return reply

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
        limited = (
            {} if self._exceeding is None else await self._exceeding(call.client, request.accounts)
        )
        for index, item in enumerate(request.accounts):
            try:
                if index in limited:
                    raise limited[index]
                commands.append(self._requests.opening(item, call.client, f"accounts[{index}]."))
                places.append(index)
            except PaycoreError as error:
                outcomes[index] = AccountRefused(error)
        if commands:
            stored = await self._accounts.open(commands, call.deadline_s)
            for index, outcome in zip(places, stored, strict=True):
                outcomes[index] = outcome
        if self._refusals is not None:
            for item, answer in zip(request.accounts, outcomes, strict=True):
                if isinstance(answer, AccountRefused):
                    self._refusals.of_item(MANY, call.client, answer.error, item)
        return bulk_reply([outcome for outcome in outcomes if outcome is not None])

    async def GetAccount(  # noqa: N802  # named by the contract
        self, request: pb2.GetAccountRequest, call: Call
    ) -> pb2.GetAccountResponse:
        """Show one account as the primary has it now."""
        await self._identifiers.name_by_id(request, ACCOUNT)
        fields = Fields()
        fields.account(request, ACCOUNT)
        fields.check()
        try:
            found = await self._accounts.describe(AccountId(request.account_id))
        except UnreachableError as error:
            raise anew.database_unavailable() from error
        if found is None:
            raise account_not_found(request.account_id)
        if not self._accounts.may_read(call.client, found.account):
            raise PaycoreError(
                Reason.NOT_PERMITTED,
                f"{call.client} may not read account {found.account.id}",
                {"account": str(found.account.id), "grant": GrantAction.READ},
            )
        return pb2.GetAccountResponse(account=account_message(*found, readable=True))

    async def SetAccountStatus(  # noqa: N802  # named by the contract
        self, request: pb2.SetAccountStatusRequest, call: Call
    ) -> pb2.SetAccountStatusResponse:
        """Freeze, close or reactivate an account."""
        await self._identifiers.name_by_id(request, ACCOUNT)
        reply = pb2.SetAccountStatusResponse()
        await self._change(self._requests.status(request, call.client), call, reply)
        return reply

    async def SetOverdraftLimit(  # noqa: N802  # named by the contract
        self, request: pb2.SetOverdraftLimitRequest, call: Call
    ) -> pb2.SetOverdraftLimitResponse:
        """Set how far below zero an account may go."""
        await self._identifiers.name_by_id(request, ACCOUNT)
        reply = pb2.SetOverdraftLimitResponse()
        await self._change(self._requests.limit(request, call.client), call, reply)
        return reply

    async def LinkExternalIdentifier(  # noqa: N802  # named by the contract
        self, request: pb2.LinkExternalIdentifierRequest, call: Call
    ) -> pb2.LinkExternalIdentifierResponse:
        """Give an account a name of the world outside."""
        command = self._requests.link(request, call.client)
        if self._velocity is not None:
            await self._velocity.admit_identifier(
                call.client, command.actor.device_id, command.identifier
            )
        reply = pb2.LinkExternalIdentifierResponse()
        await self._change(command, call, reply)
        return reply

    async def ResolveExternalIdentifier(  # noqa: N802  # named by the contract
        self, request: pb2.ResolveExternalIdentifierRequest, call: Call
    ) -> pb2.ResolveExternalIdentifierResponse:
        """Tell which account has a name of the world outside."""
        fields = Fields()
        fields.identifier("identifier", request.identifier)
        fields.check()
        wanted = ExternalIdentifier(request.identifier.scheme, request.identifier.value)
        account = (await self._identifiers.find([wanted])).get(wanted)
        if account is None:
            raise identifier_not_found(wanted)
        return pb2.ResolveExternalIdentifierResponse(account_id=account)

    async def _change(self, command: AccountChange, call: Call, reply: AccountReply) -> None:
        fill_account(reply, await self._accounts.change(command, call.deadline_s))
