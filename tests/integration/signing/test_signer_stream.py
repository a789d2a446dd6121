"""The command service's stream to real signing processes: ended, killed, renewed under load."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from prometheus_client import REGISTRY

from command_service.admission import signer_stream
from command_service.admission.signer import SignerClient
from deploy.local import Endpoints
from paycore.client.sealing import SealingKey
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.step_up import Authorization
from paycore.runtime import renewing_channel
from paycore.runtime.channel import SEPARATE_CONNECTION, open_channel
from paycore.runtime.clock import SystemClock
from signing_service.authorizer import Question
from tests.integration.signing.device import TestDevice
from tests.integration.signing.process import SigningProcess
from tests.integration.signing.served import Connect, enrol, enrolled_device, in_time
from tests.integration.signing.signer import PIN, Signer, payment
from tests.integration.signing.streaming import signer_server
from tests.support.forgery import HOUR, Authority, around_now

USER = "user-1"


class Load:
    """Payers who approve payment after payment, and what each was told."""

    def __init__(self, client: SignerClient, device: TestDevice) -> None:
        self._client = client
        self._device = device
        self._stopping = False
        self.approved: dict[Question, Authorization] = {}
        self.refused: Counter[Reason] = Counter()

    async def ask(self, question: Question) -> Authorization:
        return await self._client.authorize(
            question.user_id, question.intent, question.proof, in_time()
        )

    async def pay_once(self) -> None:
        question = self._device.approve(USER, payment())
        try:
            self.approved[question] = await self.ask(question)
        except PaycoreError as error:
            self.refused[error.reason] += 1
            await asyncio.sleep(0.01)

    async def pay_on(self) -> None:
        while not self._stopping:
            await self.pay_once()

    async def run(self, disturbance: asyncio.Task[None]) -> None:
        """Until `disturbance` is over."""
        async with asyncio.TaskGroup() as group:
            for _ in range(12):
                group.create_task(self.pay_on())
            await disturbance
            self._stopping = True

    async def is_recorded(self, owner: asyncpg.Connection) -> None:
        """What was told is what is recorded, and is told again."""
        rows = await owner.fetch("SELECT digest, id FROM signing.authorizations")
        recorded = {row["digest"]: row["id"] for row in rows}
        for given in self.approved.values():
            assert recorded[given.digest] == given.id
        some = list(self.approved)[:: max(1, len(self.approved) // 20)]
        assert await asyncio.gather(*map(self.ask, some)) == [self.approved[one] for one in some]


def ended(how: str) -> float:
    name = "paycore_command_signer_streams_ended_total"
    return REGISTRY.get_sample_value(name, {"how": how}) or 0.0


def left() -> float:
    """Streams that a process that stopped has ended; of some grpc.aio does not say how."""
    return ended("SHUTTING_DOWN") + ended("INTERNAL")


def waiting() -> float | None:
    return REGISTRY.get_sample_value("paycore_command_signer_questions")


@pytest.fixture
async def payers(client: SignerClient, connect: Connect, sealing: SealingKey) -> Load:
    await enrol(connect("app"), sealing, USER, PIN)
    return Load(client, await enrolled_device(connect("app"), sealing, USER))


async def test_who_asks_together_goes_in_one_message(payers: Load) -> None:
    def sent() -> tuple[float, float]:
        name = "paycore_command_signer_message_questions"
        found = [REGISTRY.get_sample_value(f"{name}_{what}") for what in ("count", "sum")]
        return found[0] or 0.0, found[1] or 0.0

    before = sent()
    await asyncio.gather(*(payers.pay_once() for _ in range(100)))
    after = sent()
    assert len(payers.approved) == 100
    assert after[1] - before[1] == 100
    assert after[0] - before[0] <= 3
    assert waiting() == 0


async def test_a_signer_killed_in_mid_stream_keeps_nobody_waiting_and_changes_no_verdict(
    service: SigningProcess, payers: Load, owner: asyncpg.Connection
) -> None:
    async def disturb() -> None:
        await asyncio.sleep(1.0)
        await service.kill()
        async with asyncio.timeout(1.0):
            while waiting():
                await asyncio.sleep(0.01)
        async with asyncio.timeout(60.0):
            while not payers.refused:
                await asyncio.sleep(0.01)
        await service.start()
        before = len(payers.approved)
        async with asyncio.timeout(60.0):
            while len(payers.approved) < before + 50:
                await asyncio.sleep(0.01)

    await payers.run(asyncio.create_task(disturb()))
    assert set(payers.refused) == {Reason.SIGNER_UNAVAILABLE}
    assert len(payers.approved) > 50
    await payers.is_recorded(owner)


async def test_processes_that_are_replaced_under_load_lose_no_verdict_and_refuse_nobody(
    endpoints: Endpoints,
    signing_dsn: str,
    tmp_path: Path,
    service: SigningProcess,
    payers: Load,
    owner: asyncpg.Connection,
) -> None:
    other = SigningProcess(endpoints, signing_dsn, tmp_path)
    # Both listen at one address; whoever connects meets one of them.
    other.target = service.target

    async def serving(times: int) -> None:
        async with asyncio.timeout(120):
            while service.log.read_text().count('"serving"') < times:
                await asyncio.sleep(0.05)

    async def disturb() -> None:
        before = left()
        await other.launch()
        await serving(2)
        for turn, process in enumerate((service, other, service), 3):
            await asyncio.sleep(0.5)
            assert await process.stop() == 0
            await asyncio.sleep(0.5)
            await process.launch()
            await serving(turn)
        assert left() > before

    try:
        await payers.run(asyncio.create_task(disturb()))
    finally:
        await other.kill()
    assert payers.refused == {}
    assert len(payers.approved) > 100
    await payers.is_recorded(owner)


async def test_a_signer_that_was_stopped_is_asked_on_another_stream(
    service: SigningProcess, payers: Load
) -> None:
    await payers.pay_once()
    assert service.process is not None
    before = ended("RENEWED")
    service.process.send_signal(signal.SIGSTOP)
    try:
        late = payers._device.approve(USER, payment())
        with pytest.raises(PaycoreError) as refused:
            await payers._client.authorize(USER, late.intent, late.proof, in_time(0.6))
        assert refused.value.reason is Reason.SIGNER_UNAVAILABLE
        assert waiting() == 0
    finally:
        service.process.send_signal(signal.SIGCONT)
    # It is decided once, whoever hears of it.
    assert await payers.ask(late) == await payers.ask(late)
    async with asyncio.timeout(20.0):
        while ended("RENEWED") == before:
            await asyncio.sleep(0.01)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams and channels are renewed so often that a test can wait for it."""
    monkeypatch.setattr(signer_stream, "RENEW_AFTER_S", 0.3)
    monkeypatch.setattr(renewing_channel, "RETIRED_FOR_S", 0.6)


@pytest.mark.usefixtures("hurried")
async def test_a_certificate_is_renewed_under_load_and_nobody_is_refused(
    endpoints: Endpoints, signer: Signer, tmp_path: Path, owner: asyncpg.Connection
) -> None:
    await signer.enrol(USER)
    device = await TestDevice.new().enrol(signer, USER)
    ours = Authority.of_stack(endpoints.tls["command"])
    ends_in_s = 4.0
    short = ours.issue_caller("command", around_now(HOUR, timedelta(seconds=ends_in_s)))
    files = short.write(tmp_path / "command", ours.pem)
    began_s = asyncio.get_running_loop().time()
    async with (
        signer_server(endpoints, signer) as server,
        open_channel(server.target, files, SEPARATE_CONNECTION, service="signing") as channel,
    ):
        client = SignerClient(channel, SystemClock())
        load = Load(client, device)
        before = ended("RENEWED")

        async def disturb() -> None:
            await asyncio.sleep(0.5)
            ours.issue_caller("command").write(tmp_path / "command", ours.pem)
            # Until after the first one has ended: the signing service looks at each message.
            await asyncio.sleep(began_s + ends_in_s + 1.0 - asyncio.get_running_loop().time())

        await load.run(asyncio.create_task(disturb()))
        assert load.refused == {}
        assert len(load.approved) > 100
        assert ended("RENEWED") > before + 3
        await load.is_recorded(owner)
        await client.stop()
        assert waiting() == 0
