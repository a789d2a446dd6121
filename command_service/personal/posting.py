"""The posting engine for commands with personal data: sealed before, opened after."""

from __future__ import annotations

from collections.abc import Sequence

from command_service.personal.vault import Vault
from command_service.posting import metrics
from command_service.posting.engine import PostingEngine
from paycore.domain.transfers import Command, Outcome, Refused


class PersonalPosting:
    """Stands before the engine for whoever waits for the outcomes of a call."""

    def __init__(self, engine: PostingEngine, vault: Vault) -> None:
        self._engine = engine
        self._vault = vault

    async def submit(self, commands: Sequence[Command], deadline_s: float) -> list[Outcome]:
        """As `PostingEngine.submit`, with details in their open form.

        A command whose details cannot be sealed is Refused. Raises DATABASE_UNAVAILABLE too.
        """
        ready, refused = await self._vault.prepare(commands, deadline_s)
        if not refused:
            outcomes = await self._engine.submit(ready, deadline_s)
        else:
            outcomes = await self._submit_some(
                ready, {at: Refused(error) for at, error in refused.items()}, deadline_s
            )
        await self._vault.reveal(outcomes, deadline_s)
        return outcomes

    async def _submit_some(
        self, ready: Sequence[Command], refused: dict[int, Refused], deadline_s: float
    ) -> list[Outcome]:
        metrics.count(list(refused.values()))
        kept = [command for at, command in enumerate(ready) if at not in refused]
        decided = iter(await self._engine.submit(kept, deadline_s) if kept else ())
        return [refused[at] if at in refused else next(decided) for at in range(len(ready))]
