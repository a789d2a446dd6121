"""What tells that the signing service is away, and what only its callers' hurry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_status import rpc_status

from command_service.admission import signer_link
from command_service.admission.signer_link import TRIPS_AFTER, SignerLink
from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.errors import STATUS_DETAILS_KEY, to_status

MANY = 3 * TRIPS_AFTER


@pytest.fixture
async def link() -> AsyncIterator[SignerLink]:
    """Over a channel that nobody uses: calls end as the tests say."""
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        yield SignerLink(channel)


class Method:
    """Ends each call with `error`, after `takes_s` seconds; without one it answers."""

    def __init__(self, error: BaseException | None = None, takes_s: float = 0.0) -> None:
        self.error = error
        self.takes_s = takes_s
        self.calls = 0

    async def __call__(self, request: str, *, timeout: float) -> str:
        self.calls += 1
        await asyncio.sleep(self.takes_s)
        if self.error is not None:
            raise self.error
        return request


def silent(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    """What the transport says by itself."""
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), None, None)


def refusing(reason: Reason) -> grpc.aio.AioRpcError:
    """What the signing service says."""
    status = rpc_status.to_status(to_status(PaycoreError(reason, "no")))
    trailers = grpc.aio.Metadata(*((key, value) for key, value in status.trailing_metadata))
    assert STATUS_DETAILS_KEY in dict(trailers)
    return grpc.aio.AioRpcError(status.code, grpc.aio.Metadata(), trailers, None, None)


async def calls(link: SignerLink, method: Method, times: int = MANY) -> list[str]:
    """How each of `times` calls ended: by an answer, by the method, or by the breaker."""
    found = []
    for _ in range(times):
        try:
            found.append(await link.call(method, "answer", timeout_s=1.0))
        except grpc.RpcError:
            found.append("failed")
        except PaycoreError as error:
            found.append(error.reason.value)
    return found


@pytest.mark.parametrize(
    "error",
    [
        silent(grpc.StatusCode.UNAVAILABLE),
        refusing(Reason.SHUTTING_DOWN),
        refusing(Reason.DATABASE_UNAVAILABLE),
    ],
    ids=["unreachable", "ending", "without its database"],
)
async def test_who_asks_after_some_had_no_answer_is_refused_at_once(
    link: SignerLink, error: grpc.aio.AioRpcError
) -> None:
    method = Method(error)
    found = await calls(link, method)
    refused = MANY - TRIPS_AFTER
    assert found == ["failed"] * TRIPS_AFTER + ["SIGNER_UNAVAILABLE"] * refused
    assert method.calls == TRIPS_AFTER


@pytest.mark.parametrize(
    "error",
    [
        refusing(Reason.PIN_INCORRECT),
        refusing(Reason.OVERLOADED),
        silent(grpc.StatusCode.DEADLINE_EXCEEDED),
    ],
    ids=["a refusal", "busy", "a deadline that was short"],
)
async def test_what_says_nothing_about_its_absence_opens_nothing(
    link: SignerLink, error: grpc.aio.AioRpcError
) -> None:
    assert await calls(link, Method(error)) == ["failed"] * MANY


async def test_silence_for_long_enough_counts(
    link: SignerLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signer_link, "SILENT_AFTER_S", 0.01)
    method = Method(silent(grpc.StatusCode.DEADLINE_EXCEEDED), takes_s=0.02)
    await calls(link, method)
    assert method.calls == TRIPS_AFTER


async def test_deadlines_say_nothing_while_others_are_answered(
    link: SignerLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signer_link, "SILENT_AFTER_S", 0.04)
    hurried = Method(silent(grpc.StatusCode.DEADLINE_EXCEEDED), takes_s=0.06)
    answered, over = Method(takes_s=0.01), asyncio.Event()

    async def others() -> None:
        while not over.is_set():
            assert await calls(link, answered, 1) == ["answer"]

    asking = asyncio.create_task(others())
    # All at one moment: no answer comes between their ends.
    found = await asyncio.gather(*(calls(link, hurried, 1) for _ in range(MANY)))
    assert found == [["failed"]] * MANY
    assert await calls(link, answered, 1) == ["answer"]
    over.set()
    await asking


async def test_callers_who_leave_say_nothing(link: SignerLink) -> None:
    method = Method(takes_s=10)
    for _ in range(MANY):
        call = asyncio.create_task(link.call(method, "answer", timeout_s=20))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    assert method.calls == MANY
    assert await calls(link, Method(), 2) == ["answer"] * 2
