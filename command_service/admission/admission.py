"""What every payment passes before the queue, in order: its actor, its step-up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from command_service.admission.proof import ParsedTransfer
from command_service.admission.step_up import StepUpAdmission
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.grants import GrantAction
from paycore.domain.rules import Rules
from paycore.domain.transfers import TransferCommand

AT_ONCE = 16
"""Payments of one request that are being checked at the same time."""


class Admission:
    """Lets commands through to the queue, with what the checks brought."""

    def __init__(self, step_up: StepUpAdmission, rules: Callable[[], Rules]) -> None:
        self._step_up = step_up
        self._rules = rules

    def check_actor(self, client: str, *, named: bool) -> None:
        """A named user is believed only from clients that are granted to speak for users.

        Raises PaycoreError NOT_PERMITTED.
        """
        if named and not self._rules().grants.holds(client, GrantAction.ACT_FOR_USERS):
            raise PaycoreError(
                Reason.NOT_PERMITTED,
                f"{client} may not name an actor",
                {"grant": GrantAction.ACT_FOR_USERS},
            )

    async def admit(self, parsed: ParsedTransfer, deadline_s: float) -> TransferCommand:
        """The command to queue. Raises PaycoreError as the checks do.

        `deadline_s` is the caller's, on the monotonic clock.
        """
        self.check_actor(parsed.command.client, named=parsed.names_actor)
        return await self._check(parsed, deadline_s)

    async def admit_all(
        self, parsed: Sequence[ParsedTransfer], deadline_s: float
    ) -> tuple[list[TransferCommand], Mapping[int, PaycoreError]]:
        """The commands in the order of `parsed`, and by place the refusals of those refused."""
        commands = [one.command for one in parsed]
        refused: dict[int, PaycoreError] = {}
        slow: list[int] = []
        for at, one in enumerate(parsed):
            try:
                self.check_actor(one.command.client, named=one.names_actor)
            except PaycoreError as error:
                refused[at] = error
                continue
            if self._needs_asking(one):
                slow.append(at)
        if slow:
            places = asyncio.Semaphore(AT_ONCE)

            async def check(at: int) -> None:
                async with places:
                    try:
                        commands[at] = await self._check(parsed[at], deadline_s)
                    except PaycoreError as error:
                        refused[at] = error

            async with asyncio.TaskGroup() as group:
                for at in slow:
                    group.create_task(check(at))
        return commands, refused

    def _needs_asking(self, parsed: ParsedTransfer) -> bool:
        """Whether anything has to be asked that is not in this process."""
        return parsed.proof is not None

    async def _check(self, parsed: ParsedTransfer, deadline_s: float) -> TransferCommand:
        command = parsed.command
        if parsed.proof is not None:
            command = await self._step_up.authorize(
                command, parsed.proof.sealed_pin, parsed.proof.signed_at_us, deadline_s
            )
        return command
