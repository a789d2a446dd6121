"""From the independent transfers of one request to what may be queued of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from command_service.admission.admission import Admission
from command_service.admission.proof import ParsedTransfer
from command_service.posting import metrics
from command_service.servicers.stretches import AT_A_STRETCH, Stretches
from command_service.servicers.transfer_requests import parse_transfer
from paycore.domain.errors import PaycoreError
from paycore.domain.transfers import Command, Refused, TransferCommand
from paycore.runtime.account_names import SIDES
from paycore.runtime.identifiers import Identifiers
from paycore.v1 import transfer_service_pb2 as pb2

Exceeding = Callable[[str, Sequence[Any]], Awaitable[Mapping[int, PaycoreError]]]
"""Of a client's items, by place, the refusals of those whose actors exceed their limits."""


class Intake(NamedTuple):
    """What became of each item of a request, which is named by its place."""

    commands: list[TransferCommand]
    places: list[int]
    """Of `commands`, one each."""
    refused: list[tuple[int, Refused]]


class TransferIntake:
    """Names accounts by id, translates and admits."""

    def __init__(
        self,
        identifiers: Identifiers,
        admission: Admission,
        secret: bytes,
        stretches: Stretches,
        exceeding: Exceeding | None = None,
    ) -> None:
        """Without `exceeding` actors have no limits."""
        self._identifiers = identifiers
        self._admission = admission
        self._secret = secret
        self._stretches = stretches
        self._exceeding = exceeding

    async def take_in(
        self, items: Sequence[pb2.SubmitTransferRequest], client: str, deadline_s: float
    ) -> Intake:
        """What may be queued of `items`; what is wrong with one is no matter of the others.

        `deadline_s` is the caller's, on the monotonic clock. Raises PaycoreError
        DATABASE_UNAVAILABLE.
        """
        parsed: list[ParsedTransfer] = []
        places: list[int] = []
        refused: list[tuple[int, Refused]] = []
        limited = {} if self._exceeding is None else await self._exceeding(client, items)
        unknown = await self._identifiers.name_all_by_id(items, *SIDES)
        for index, item in enumerate(items):
            if index % AT_A_STRETCH == 0:
                await self._stretches.next()
            try:
                if index in limited:
                    raise limited[index]
                if index in unknown:
                    raise unknown[index]
                parsed.append(parse_transfer(item, client, self._secret, index))
                places.append(index)
            except PaycoreError as error:
                refused.append((index, Refused(error)))
        commands, denied = await self._admission.admit_all(parsed, deadline_s)
        if denied:
            refused += [(places[at], Refused(error)) for at, error in denied.items()]
            kept = [at for at in range(len(commands)) if at not in denied]
            commands, places = [commands[at] for at in kept], [places[at] for at in kept]
        if refused:
            metrics.count([one for _, one in refused])
        return Intake(commands, places, refused)

    def let_go(self, commands: Sequence[Command]) -> None:
        """Of commands that were taken in and are not handed to the engine."""
        self._admission.let_go(commands)
