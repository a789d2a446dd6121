"""What every payment passes before the queue, in order: actor, device, step-up, risk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from command_service import anew
from command_service.admission.few_at_once import few_at_once
from command_service.admission.group_payers import early_of_group
from command_service.admission.payers import Payers
from command_service.admission.proof import ParsedTransfer, Proof
from command_service.admission.risk.judge import RiskJudge
from command_service.admission.risk.port import Question
from command_service.admission.step_up import StepUpAdmission
from command_service.admission.velocity import Velocity
from paycore.domain.accounts import Account, AccountId
from paycore.domain.errors import PaycoreError
from paycore.domain.grants import check_actor
from paycore.domain.rules import GUARDED, PAYER_INITIATED, Rules
from paycore.domain.step_up_policy import StepUpRule
from paycore.domain.transfers import Command, GroupCommand, Refused, StepUpBasis, TransferCommand


class Admission:
    """Lets commands through to the queue, with what the checks brought.

    What it lets through is handed to the engine, which tells the judge its outcome, or to `let_go`.
    """

    def __init__(
        self,
        payers: Payers,
        step_up: StepUpAdmission,
        rules: Callable[[], Rules],
        judge: RiskJudge | None = None,
        velocity: Velocity | None = None,
    ) -> None:
        """Without a `judge` no payment is judged, without `velocity` no device counted, which costs
        nothing."""
        self._payers = payers
        self._step_up = step_up
        self._rules = rules
        self._judge = judge
        self._velocity = velocity

    def check_actor(self, client: str, *, named: bool) -> None:
        """As `grants.check_actor`."""
        check_actor(self._rules().grants, client, named=named)

    async def admit(self, parsed: ParsedTransfer, deadline_s: float) -> TransferCommand:
        """The command to queue. Raises PaycoreError as the checks do.

        `deadline_s` is the caller's, on the monotonic clock.
        """
        self.check_actor(parsed.command.client, named=parsed.names_actor)
        if parsed.names_actor and self._velocity is not None:
            await self._velocity.admit(parsed.command.client, [parsed.command])
        return await self._check(parsed, deadline_s)

    async def admit_all(
        self, parsed: Sequence[ParsedTransfer], deadline_s: float
    ) -> tuple[list[TransferCommand], Mapping[int, PaycoreError]]:
        """The commands in the order of `parsed`, and by place the refusals of those refused."""
        commands = [one.command for one in parsed]
        refused: dict[int, PaycoreError] = {}
        slow: list[int] = []
        acted: list[int] = []
        for at, one in enumerate(parsed):
            try:
                self.check_actor(one.command.client, named=one.names_actor)
            except PaycoreError as error:
                refused[at] = error
                continue
            if one.names_actor:
                acted.append(at)
            if one.proof is not None or self._is_judged(one.command):
                slow.append(at)
        if acted and self._velocity is not None:
            refused |= await self._velocity.exceeding(commands[0].client, commands, acted)
            slow = [at for at in slow if at not in refused]

        async def check(at: int) -> None:
            try:
                commands[at] = await self._check(parsed[at], deadline_s)
            except PaycoreError as error:
                refused[at] = error

        if slow:
            try:
                await few_at_once(check, slow)
            except BaseException:
                self.let_go(commands)
                raise
        return commands, refused

    async def admit_group(
        self, group: GroupCommand, proofs: Mapping[AccountId, Proof], deadline_s: float
    ) -> GroupCommand:
        """The group to queue; `proofs` are by the account that pays.

        Raises PaycoreError as the checks do: of the first payer that is refused, with its account,
        or of the first item, with its place.
        """
        items = group.items
        if self._velocity is not None:
            await self._velocity.admit(group.client, items)
        judged = [at for at, item in enumerate(items) if self._is_judged(item)]
        if not judged and not proofs:
            return group
        payers = await self._payers.find(group.client, group.key, items)
        early = early_of_group(group, payers, self._rules())
        asked = {
            one.payer: proofs[one.payer.id]
            for one in early.values()
            if one.payer.id in proofs and not isinstance(one.found, StepUpBasis)
        }
        group = await self._step_up.authorize_group(group, asked, deadline_s)
        approved = {payer for payer, _ in group.authorizations}
        questions = [
            Question(items[at]._replace(key=group.key), deadline_s, at)
            for at in judged
            if items[at].debit_account in early
            and (
                items[at].debit_account in approved
                # Else the plan will ask for an approval: no need to judge before.
                or not isinstance(early[items[at].debit_account].found, StepUpRule)
            )
        ]
        if not questions or self._judge is None:
            return group
        verdicts = await self._judge.judge_group(questions)
        admitted = list(items)
        for question, verdict in zip(questions, verdicts, strict=True):
            if question.item is not None:
                admitted[question.item] = items[question.item]._replace(risk=verdict)
        return group._replace(items=tuple(admitted))

    def let_go(self, commands: Iterable[Command]) -> None:
        """Of commands that were let through and are not handed to the engine."""
        if self._judge is not None:
            given_up = Refused(anew.deadline_passed())
            for command in commands:
                self._judge.ended(command, given_up)

    async def _check(self, parsed: ParsedTransfer, deadline_s: float) -> TransferCommand:
        command = parsed.command
        judged = self._is_judged(command)
        if parsed.proof is None and not judged:
            return command
        payer = (await self._payers.find(command.client, command.key, [command])).get(0)
        if payer is None:
            return command
        early = self._early(command, payer)
        if not isinstance(early, StepUpBasis):
            if parsed.proof is not None:
                # Also where the plan may do without: what it hangs on changes meanwhile.
                command = await self._step_up.authorize(command, payer, parsed.proof, deadline_s)
            elif early is not None:
                # The plan will ask for one: no need to judge before.
                return command
        if judged and self._judge is not None:
            verdict = await self._judge.judge(Question(command, deadline_s))
            command = command._replace(risk=verdict)
        return command

    def _is_judged(self, command: TransferCommand) -> bool:
        return self._judge is not None and command.kind in PAYER_INITIATED

    def _early(self, command: TransferCommand, payer: Account) -> StepUpBasis | StepUpRule | None:
        """What policy says of it before the payer's past is known, which the plan reads."""
        if command.kind not in GUARDED:
            return StepUpBasis.NOT_APPLICABLE
        return self._rules().step_up_of(command.client, command, payer)
