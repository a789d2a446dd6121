"""PolicyService: how much clients may ask."""

from __future__ import annotations

from collections.abc import Mapping

from command_service import anew
from command_service.policy.ledger import PolicyLedger
from command_service.policy.place_token import PlaceTokens
from command_service.posting.store import UnreachableError
from command_service.servicers.fields import MAX_NAME, Fields
from command_service.servicers.limit_requests import LimitRequests, limit_message, place_of
from command_service.servicers.policy_frame import page_size
from paycore.domain.limits import Place, Source
from paycore.runtime.limits.table import LimitTable, Said
from paycore.runtime.server import Call
from paycore.v1 import policy_service_pb2 as pb2


class LimitServicer:
    """Translates between messages and the policy ledger."""

    def __init__(
        self,
        policy: PolicyLedger,
        configured: LimitTable,
        requests: LimitRequests,
        secret: bytes,
    ) -> None:
        """`configured` is what holds where nothing is set; `secret` is the key of page tokens."""
        self._policy = policy
        self._configured = configured
        self._requests = requests
        self._tokens = PlaceTokens(secret, "limits")

    async def GetLimit(  # noqa: N802  # named by the contract
        self, request: pb2.GetLimitRequest, call: Call
    ) -> pb2.GetLimitResponse:
        """Show what is set in one place, and what holds there."""
        place = place_of(request)
        changed = await self._changed()
        own = changed.get(place)
        in_force = self._configured.with_changes(changed).in_force(place)
        return pb2.GetLimitResponse(
            limit=None if own is None else limit_message(place, own),
            in_force=None if in_force is None else limit_message(*in_force),
        )

    async def ListLimits(  # noqa: N802  # named by the contract
        self, request: pb2.ListLimitsRequest, call: Call
    ) -> pb2.ListLimitsResponse:
        """Show all that is said of limits."""
        fields = Fields()
        fields.text("client", request.client, MAX_NAME)
        size = page_size(request.page_size, fields)
        fields.check()
        wanted = request.client if request.HasField("client") else None
        after = self._tokens.open(request.page_token, call.client, wanted)
        said = self._configured.with_changes(await self._changed()).said()
        # Limits are of few clients and methods: they are all in memory in any case.
        places = sorted(
            place for place in said if wanted in (None, place.client) and [*place] > after
        )
        page = places[:size]
        reply = pb2.ListLimitsResponse(limits=[limit_message(one, said[one]) for one in page])
        if len(places) > size:
            reply.next_page_token = self._tokens.seal(page[-1], call.client, wanted)
        return reply

    async def SetLimit(  # noqa: N802  # named by the contract
        self, request: pb2.SetLimitRequest, call: Call
    ) -> pb2.SetLimitResponse:
        """Set a limit."""
        command = self._requests.setting(request, call.client)
        outcome = await self._policy.change(command, call.deadline_s)
        said = Said(command.setting, Source.DATABASE, outcome.revision)
        return pb2.SetLimitResponse(
            limit=limit_message(command.place, said), replayed=outcome.replayed
        )

    async def RemoveLimit(  # noqa: N802  # named by the contract
        self, request: pb2.RemoveLimitRequest, call: Call
    ) -> pb2.RemoveLimitResponse:
        """Have what file and defaults say of a limit again."""
        command = self._requests.removal(request, call.client)
        outcome = await self._policy.change(command, call.deadline_s)
        return pb2.RemoveLimitResponse(removed=outcome.changed, replayed=outcome.replayed)

    async def _changed(self) -> Mapping[Place, Said]:
        try:
            return await self._policy.limits()
        except UnreachableError as error:
            raise anew.database_unavailable() from error
