"""Who makes unary load: ghz where it is installed, else this process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from deploy.ghz.configurations import FOLDER
from deploy.ghz.program import GhzError, Outcome, find_ghz, run_ghz
from paycore.runtime.tls import TlsFiles
from tests.bench.errors import BenchError
from tests.bench.figures import Latency
from tests.bench.lanes import Lanes
from tests.bench.load import shared_loops
from tools import generate_stubs

MOST_CONNECTIONS = 16
LONGEST_RUN_S = 120.0
_CONFIGURATION = {
    "/paycore.v1.TransferService/SubmitTransfer": "submit-transfer.json",
    "/paycore.bench.v1.EchoService/Echo": "echo.json",
}


@dataclass(frozen=True, slots=True)
class Job:
    """`calls` calls of one method, `requests` in turn, by `callers` at once."""

    target: str
    """host:port."""
    method: str
    """`/package.Service/Method`, one that deploy/ghz has a configuration for."""
    requests: Sequence[Message]
    calls: int
    callers: int

    @property
    def connections(self) -> int:
        """Several, because the kernel gives each connection to one process for good."""
        return min(self.callers, MOST_CONNECTIONS)


@dataclass(frozen=True, slots=True)
class Result:
    """What the callers saw."""

    rate: float
    """Calls per second."""
    latency: Latency


class Generator(Protocol):
    """Makes unary load."""

    @property
    def description(self) -> str: ...

    async def run(self, job: Job) -> Result:
        """Do `job`. Raises BenchError where a call failed."""
        ...


class Ghz:
    """The load generator ghz, a process of its own."""

    def __init__(self, program: Path, tls: TlsFiles | None, folder: Path) -> None:
        """Plain text where `tls` is None; `folder` is for its files.

        Raises BenchError when the protos do not compile.
        """
        self._program = program
        self._tls = tls
        self._folder = folder
        self._descriptors = folder / "paycore.binpb"
        if generate_stubs.describe(self._descriptors) != 0:
            raise BenchError("the protos do not compile")

    @property
    def description(self) -> str:
        return "ghz"

    async def run(self, job: Job) -> Result:
        data = self._folder / "requests.json"
        requests = [MessageToDict(one, preserving_proto_field_name=True) for one in job.requests]
        data.write_text(json.dumps(requests))
        try:
            outcome = await run_ghz(
                self._program,
                f"--config={FOLDER / _CONFIGURATION[job.method]}",
                f"--protoset={self._descriptors}",
                *_transport(self._tls),
                f"--data-file={data}",
                f"--total={job.calls}",
                f"--concurrency={job.callers}",
                f"--connections={job.connections}",
                job.target,
                within_s=LONGEST_RUN_S,
            )
        except GhzError as error:
            raise BenchError(str(error)) from error
        return ghz_result(outcome, job.calls)


def _transport(tls: TlsFiles | None) -> tuple[str, ...]:
    if tls is None:
        return ("--insecure",)
    return (f"--cacert={tls.ca}", f"--cert={tls.certificate}", f"--key={tls.key}")


def ghz_result(outcome: Outcome, calls: int) -> Result:
    """What ghz reports. Raises BenchError unless each of `calls` succeeded."""
    if outcome.codes != {"OK": calls}:
        raise BenchError(f"not every call succeeded: {outcome.codes} {outcome.errors}")
    return Result(outcome.rate, Latency(outcome.latencies_ms[50], outcome.latencies_ms[99]))


class OwnClient:
    """grpc.aio in this process: slower than ghz, so that it bounds the figures earlier."""

    def __init__(self, tls: TlsFiles | None) -> None:
        self._tls = tls

    @property
    def description(self) -> str:
        return "own Python client, since ghz is not installed; it takes part of the cores itself"

    async def run(self, job: Job) -> Result:
        raw = [request.SerializeToString() for request in job.requests]
        requests = [raw[number % len(raw)] for number in range(job.calls)]
        async with Lanes(job.target, self._tls, job.connections) as lanes:
            taken = await shared_loops(lanes.call(job.method), requests, job.callers)
        return Result(job.calls / taken.elapsed_s, Latency.of(taken.latencies_s))


def choose_generator(tls: TlsFiles | None, folder: Path) -> Generator:
    """ghz where it is installed, else our own client; plain text where `tls` is None."""
    program = find_ghz()
    return OwnClient(tls) if program is None else Ghz(program, tls, folder)
