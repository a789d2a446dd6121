"""What identity and limits cost a payment: the same payments with and without them.

In two pairs: a process without identity reaches no signing service, and so none of the keys under
which a payment in the name of a user keeps personal data.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from deploy.local.identity import family
from deploy.local.services import ACCESS_FILE
from paycore.runtime.gate import PLAIN_TEXT_CLIENT
from tests.bench.bed import SUBMIT_TRANSFER, Bed
from tests.bench.figures import Sample
from tests.bench.generators import Generator, Job, choose_generator
from tests.bench.orders import Request
from tests.bench.sizes import LAYERED_CALLERS
from tests.bench.usage import Meter
from tests.support.command_process import command_process

WARM_UP_CALLS = 500

KNOWN_USERS = 256
WARM_UP_FOR_KNOWN = 2_000
"""Calls after which each process has met nearly all of KNOWN_USERS."""

GRANTS = ("TRANSFER", "READ")
"""What a caller without a name must hold to make the same payments."""

_NO_LIMITS = """\
[default]
client = false
address = false
user = false
device = false
velocity = false
"""
_NO_VELOCITY = """\
[default]
velocity = false
"""
_ANONYMOUS = f"""
[clients.{PLAIN_TEXT_CLIENT}]
methods = ["paycore.v1.TransferService/SubmitTransfer"]
"""


@dataclass(frozen=True, slots=True)
class Layers:
    """Which of them stand before a payment."""

    key: str
    what: str
    settings: Mapping[str, str] = field(default_factory=dict)
    """PAYCORE_COMMAND_* without the prefix."""
    plain: bool = False
    """Plain text, without identity."""
    for_users: bool = False
    """Whether the payments are in the name of users, whose limits then hold."""
    known: bool = False
    """Whether these users are so few that the processes have met them before the clock runs."""
    baseline: str = ""


async def layered(bed: Bed) -> list[Layers]:
    """Plain text, and with identity; for users without limits, with rates, and with velocity."""
    await _grant_everyone(bed)
    files = bed.folder
    no_limits = _written(files / "no-limits.toml", _NO_LIMITS)
    no_velocity = _written(files / "no-velocity.toml", _NO_VELOCITY)
    access = _written(files / "access.toml", ACCESS_FILE.read_text(encoding="utf-8") + _ANONYMOUS)
    plain = {"INSECURE": "true", "ACCESS_FILE": access, "LIMITS_FILE": no_limits}
    return [
        Layers("layers-none", "plain text, no identity, no limits", plain, plain=True),
        Layers(
            "layers-identity",
            "identity, no limits",
            {"LIMITS_FILE": no_limits},
            baseline="layers-none",
        ),
        Layers(
            "layers-unlimited",
            "identity, no limits, for users",
            {"LIMITS_FILE": no_limits},
            for_users=True,
        ),
        Layers(
            "layers-known",
            f"identity, no limits, for {KNOWN_USERS} known users",
            {"LIMITS_FILE": no_limits},
            for_users=True,
            known=True,
            baseline="layers-identity",
        ),
        Layers(
            "layers-rates",
            "identity, limits but velocity, for users",
            {"LIMITS_FILE": no_velocity},
            for_users=True,
            baseline="layers-unlimited",
        ),
        Layers(
            "layers-all",
            "identity, all limits, for users",
            for_users=True,
            baseline="layers-unlimited",
        ),
    ]


class LayeredSubmission:
    """SubmitTransfer to processes of its own."""

    unit = "transfers"

    def __init__(self, bed: Bed, layers: Layers) -> None:
        self.key = layers.key
        self.label = f"SubmitTransfer, {LAYERED_CALLERS} callers, projector off: {layers.what}"
        self.baseline = layers.baseline
        self._bed = bed
        self._layers = layers
        self._accounts = bed.accounts[:KNOWN_USERS] if layers.known else bed.accounts
        self._warm_up_calls = WARM_UP_FOR_KNOWN if layers.known else WARM_UP_CALLS
        self._generator: Generator = choose_generator(None if layers.plain else bed.tls, bed.folder)

    async def warm_up(self) -> None:
        """Nothing: each repetition has processes of its own, and warms them up."""

    async def measure(self) -> Sample:
        bed, calls = self._bed, self._bed.sizes.layered
        log = bed.folder / f"{self.key}.log"
        settings = {**self._layers.settings, "PROCESSES": str(bed.processes)}
        async with command_process(bed.endpoints, log, **settings) as (target, process):
            await self._generator.run(self._job(target, self._warm_up_calls))
            job = self._job(target, calls)
            pids = (process.pid, *(one.pid for one in family(process.pid)))
            meter = Meter(
                lambda: {
                    **{part: bed.stack.part_pids(part) for part in bed.stack.parts},
                    "command": pids,
                }
            )
            meter.start()
            result = await self._generator.run(job)
            cpu_us = meter.per(calls)
        return Sample(result.rate, result.latency, cpu_us)

    def _job(self, target: str, calls: int) -> Job:
        requests: Sequence[Request] = [self._request() for _ in range(calls)]
        return Job(target, SUBMIT_TRANSFER, requests, calls, LAYERED_CALLERS)

    def _request(self) -> Request:
        """A payment; for users in the name of the one user of its debited account, from the user's
        one device and address, far below any limit."""
        request = self._bed.orders.transfer(self._accounts)
        if not self._layers.for_users:
            return request
        payer = request.debit_account_id
        request.actor.user_id = f"user-{payer}"
        request.actor.device_id = f"device-{payer}"
        request.actor.ip_address = f"10.{payer >> 16 & 255}.{payer >> 8 & 255}.{payer & 255}"
        return request


def _written(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


async def _grant_everyone(bed: Bed) -> None:
    """Let whoever has no name pay from every account: only this run's stack, on the loopback."""
    connection = await asyncpg.connect(bed.endpoints.postgres_dsn["paycore_owner"])
    try:
        async with asyncio.timeout(10):
            await connection.executemany(
                "INSERT INTO ledger.grants (client, action, scope) VALUES ($1, $2, 'ALL')"
                " ON CONFLICT DO NOTHING",
                [(PLAIN_TEXT_CLIENT, action) for action in GRANTS],
            )
    finally:
        await connection.close()
