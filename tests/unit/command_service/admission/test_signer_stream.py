"""How questions share a stream, and what becomes of them when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc_status import rpc_status
from prometheus_client import REGISTRY

from command_service.admission import question_stream, signer_stream
from command_service.admission.question_stream import LINGER_S, QUESTIONS_A_MESSAGE
from command_service.admission.signer import CALL_TIMEOUT_S
from command_service.admission.signer_link import TRIPS_AFTER, SignerLink
from command_service.admission.signer_stream import RENEW_AFTER_S, SignerStream
from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.errors import from_rpc_error, to_status
from paycore.runtime.renewing_channel import RETIRED_FOR_S
from paycore.signing.v1 import signing_service_pb2 as pb
from paycore.signing.v1 import signing_service_pb2_grpc as pb_grpc
from tests.support.clocks import ShiftedClock

Script = Callable[["Peer", Any], Awaitable[None]]
END: object = grpc.aio.EOF  # type: ignore[attr-defined]  # stubs lack it
AMPLE_S = 10.0


class Peer:
    """The other end of the wire, which does with its streams, one after the other, what the test
    says; the last of the scripts goes on for all others."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.streams = 0
        self.calls = 0
        self.messages: list[pb.AuthorizeStreamRequest] = []

    @property
    def handlers(self) -> grpc.GenericRpcHandler[Any, Any]:
        """What a server serves it by."""
        methods = {
            "AuthorizeStream": grpc.stream_stream_rpc_method_handler(
                self._answer_stream,
                pb.AuthorizeStreamRequest.FromString,
                pb.AuthorizeStreamResponse.SerializeToString,
            ),
            "Authorize": grpc.unary_unary_rpc_method_handler(
                self._answer_call,
                pb.AuthorizeRequest.FromString,
                pb.AuthorizeResponse.SerializeToString,
            ),
        }
        name = pb.DESCRIPTOR.services_by_name["SigningService"].full_name
        return grpc.method_handlers_generic_handler(name, methods)

    async def _answer_stream(self, _: object, context: Any) -> None:
        script = self._scripts[min(self.streams, len(self._scripts) - 1)]
        self.streams += 1
        await script(self, context)

    async def _answer_call(self, request: pb.AuthorizeRequest, _: Any) -> pb.AuthorizeResponse:
        self.calls += 1
        return pb.AuthorizeResponse(authorization=pb.Authorization(user_id=request.user_id))

    async def read(self, context: Any) -> pb.AuthorizeStreamRequest | None:
        message = await context.read()
        if message is END:
            return None
        assert isinstance(message, pb.AuthorizeStreamRequest)
        self.messages.append(message)
        return message


def authorized(question: pb.AuthorizeQuestion) -> pb.AuthorizeAnswer:
    """The answer that names the user who was asked about."""
    return pb.AuthorizeAnswer(
        number=question.number,
        authorization=pb.Authorization(user_id=question.request.user_id),
    )


async def answers(peer: Peer, context: Any) -> None:
    """Authorize everything."""
    while (message := await peer.read(context)) is not None:
        reply = pb.AuthorizeStreamResponse(answers=map(authorized, message.questions))
        await context.write(reply)


async def says_nothing(peer: Peer, context: Any) -> None:
    while await peer.read(context) is not None:
        pass


def ends(reason: Reason) -> Script:
    """Read one message and end the stream without an answer."""

    async def end(peer: Peer, context: Any) -> None:
        await peer.read(context)
        await context.abort_with_status(rpc_status.to_status(to_status(PaycoreError(reason, "no"))))

    return end


@asynccontextmanager
async def asking(
    peer: Peer, clock: ShiftedClock | None = None
) -> AsyncIterator[tuple[SignerStream, grpc.aio.Channel]]:
    """Whoever asks `peer`."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((peer.handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stream = SignerStream(pb_grpc.SigningServiceStub(channel), clock or ShiftedClock())
        yield stream, channel
        await stream.stop()
        assert waiting() == 0
    await server.stop(None)


def waiting() -> float | None:
    return REGISTRY.get_sample_value("paycore_command_signer_questions")


def asked(user: str) -> pb.AuthorizeRequest:
    return pb.AuthorizeRequest(user_id=user)


async def ask(stream: SignerStream, user: str, timeout_s: float = AMPLE_S) -> str:
    """The user whom the answer names, or how it failed."""
    try:
        return (await stream.ask(asked(user), timeout=timeout_s)).user_id
    except grpc.aio.AioRpcError as error:
        refusal = from_rpc_error(error)
        return error.code().name if refusal is None else refusal.reason.value
    except PaycoreError as error:
        return f"here: {error.reason.value}"


async def ask_all(stream: SignerStream, users: list[str], timeout_s: float = AMPLE_S) -> list[str]:
    return await asyncio.gather(*(ask(stream, user, timeout_s) for user in users))


async def test_who_asks_at_the_same_time_shares_messages_and_gets_their_own_answer() -> None:
    peer = Peer(answers)
    users = [f"user-{number}" for number in range(QUESTIONS_A_MESSAGE + 50)]
    async with asking(peer) as (stream, _):
        assert await ask_all(stream, users) == users
        assert await ask_all(stream, users[:5]) == users[:5]
    sizes = [len(message.questions) for message in peer.messages]
    assert sizes == [QUESTIONS_A_MESSAGE, 50, 5]
    numbers = [one.number for message in peer.messages for one in message.questions]
    assert numbers == sorted(set(numbers))
    assert peer.streams == 1


async def test_a_message_has_a_bound_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question_stream, "BYTES_A_MESSAGE", 100)
    peer = Peer(answers)
    users = [f"{number:0>70}" for number in range(6)]
    async with asking(peer) as (stream, _):
        assert await ask_all(stream, users) == users
    assert [len(message.questions) for message in peer.messages] == [2, 2, 2]


async def test_answers_come_in_any_order_and_strange_ones_hurt_nobody() -> None:
    async def backwards(peer: Peer, context: Any) -> None:
        message = await peer.read(context)
        assert message is not None
        found = [authorized(one) for one in reversed(message.questions)]
        strange = [pb.AuthorizeAnswer(number=4_711), pb.AuthorizeAnswer(number=0)]
        again = pb.AuthorizeAnswer(
            number=found[0].number, authorization=pb.Authorization(user_id="somebody else")
        )
        for one in (*strange, found[0], again, *found[1:]):
            await context.write(pb.AuthorizeStreamResponse(answers=[one]))
        unheard_of = pb.AuthorizeAnswer(number=found[0].number + 1)
        unheard_of.refusal.code = 999
        while await peer.read(context) is not None:
            await context.write(pb.AuthorizeStreamResponse(answers=[unheard_of]))

    users = ["first", "second", "third"]
    async with asking(Peer(backwards)) as (stream, _):
        assert await ask_all(stream, users) == users
        assert await ask(stream, "fourth") == "UNKNOWN"


async def test_who_has_left_is_not_asked_about() -> None:
    peer = Peer(answers)
    async with asking(peer) as (stream, _):
        first = asyncio.create_task(ask(stream, "first"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        # The first message waits for the connection, and what follows for the first message.
        leaving = asyncio.create_task(ask(stream, "leaves"))
        stays = asyncio.create_task(ask(stream, "stays"))
        await asyncio.sleep(0)
        leaving.cancel()
        assert (await first, await stays) == ("first", "stays")
    asked_about = [[one.request.user_id for one in message.questions] for message in peer.messages]
    assert asked_about == [["first"], ["stays"]]


async def test_each_waits_no_longer_than_it_may_and_says_so() -> None:
    peer = Peer(says_nothing)
    async with asking(peer) as (stream, _):
        began_s = asyncio.get_running_loop().time()
        assert await ask_all(stream, ["a", "b"], 0.1) == ["DEADLINE_EXCEEDED"] * 2
        assert asyncio.get_running_loop().time() - began_s < 5.0
        for question in peer.messages[0].questions:
            assert 0 < question.timeout.ToMicroseconds() <= 100_000
        assert waiting() == 0


async def test_a_stream_that_is_silent_for_long_is_not_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signer_stream, "SILENT_AFTER_S", 0.1)
    peer = Peer(says_nothing, answers)
    async with asking(peer) as (stream, _):
        assert await ask(stream, "hurries", 0.02) == "DEADLINE_EXCEEDED"
        assert await ask(stream, "waits", 0.2) == "DEADLINE_EXCEEDED"
        assert peer.streams == 1
        assert await ask(stream, "comes later") == "comes later"
        assert peer.streams == 2


async def test_what_a_process_that_stops_did_not_read_is_asked_once_more() -> None:
    peer = Peer(ends(Reason.SHUTTING_DOWN), answers)
    async with asking(peer) as (stream, _):
        assert await ask_all(stream, ["a", "b"]) == ["a", "b"]
    peer = Peer(ends(Reason.SHUTTING_DOWN))
    async with asking(peer) as (stream, _):
        assert await ask_all(stream, ["a", "b"]) == ["SHUTTING_DOWN"] * 2
        assert peer.streams == 2


async def test_a_stream_that_breaks_fails_who_waits_and_the_next_begins_another() -> None:
    async def breaks(peer: Peer, context: Any) -> None:
        await peer.read(context)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    async def just_ends(peer: Peer, context: Any) -> None:
        await peer.read(context)

    peer = Peer(breaks, just_ends, ends(Reason.OVERLOADED), answers)
    async with asking(peer) as (stream, _):
        assert await ask_all(stream, ["a", "b"]) == ["UNAVAILABLE"] * 2
        assert await ask(stream, "c") == "UNAVAILABLE"
        assert await ask(stream, "d") == "OVERLOADED"
        assert await ask(stream, "e") == "e"
        assert waiting() == 0


async def test_a_channel_that_is_closed_is_a_stream_that_broke() -> None:
    async with asking(Peer(says_nothing)) as (stream, channel):
        waits = asyncio.create_task(ask(stream, "a"))
        while not waiting():
            await asyncio.sleep(0.01)
        await channel.close(None)
        assert await waits == "UNAVAILABLE"


async def test_another_stream_is_begun_now_and_then_and_the_old_one_answers_what_it_was_asked() -> (
    None
):
    go_on = asyncio.Event()

    async def slow(peer: Peer, context: Any) -> None:
        message = await peer.read(context)
        assert message is not None
        await go_on.wait()
        assert await peer.read(context) is None
        await context.write(pb.AuthorizeStreamResponse(answers=map(authorized, message.questions)))

    peer, clock = Peer(slow, answers), ShiftedClock()
    async with asking(peer, clock) as (stream, _):
        old = asyncio.create_task(ask(stream, "old"))
        while not peer.messages:
            await asyncio.sleep(0.01)
        clock.shift_s += RENEW_AFTER_S
        assert await ask(stream, "new") == "new"
        assert peer.streams == 2
        assert not old.done()
        go_on.set()
        assert await old == "old"
        assert await ask(stream, "newer") == "newer"
        assert peer.streams == 2


def test_a_stream_is_left_before_the_channel_of_an_old_certificate_is_closed() -> None:
    assert CALL_TIMEOUT_S < LINGER_S
    assert RENEW_AFTER_S + LINGER_S < RETIRED_FOR_S


async def test_an_old_stream_that_nobody_answers_on_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(question_stream, "LINGER_S", 0.1)
    left = asyncio.Event()

    async def lingers(peer: Peer, context: Any) -> None:
        try:
            await peer.read(context)
            await asyncio.sleep(AMPLE_S)
        finally:
            left.set()

    peer, clock = Peer(lingers, answers), ShiftedClock()
    async with asking(peer, clock) as (stream, _):
        old = asyncio.create_task(ask(stream, "old"))
        while not peer.messages:
            await asyncio.sleep(0.01)
        clock.shift_s += RENEW_AFTER_S
        assert await ask(stream, "new") == "new"
        assert await old == "UNAVAILABLE"
        await asyncio.wait_for(left.wait(), AMPLE_S)


async def is_unknown(peer: Peer, context: Any) -> None:
    """As an older signing service has it."""
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")


@pytest.mark.parametrize("no_stream", [is_unknown, ends(Reason.NOT_PERMITTED)])
async def test_a_service_that_has_no_stream_for_us_is_called_for_a_while(
    no_stream: Script,
) -> None:
    peer, clock = Peer(no_stream, answers), ShiftedClock()
    async with asking(peer, clock) as (stream, _):
        assert await ask_all(stream, ["a", "b"]) == ["a", "b"]
        assert await ask(stream, "c") == "c"
        assert (peer.streams, peer.calls) == (1, 3)
        clock.shift_s += signer_stream.BY_CALL_FOR_S
        assert await ask(stream, "d") == "d"
        assert (peer.streams, peer.calls) == (2, 3)


async def test_too_many_are_refused_here_which_says_nothing_about_the_signing_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signer_stream, "MOST_OPEN", 3)
    async with asking(Peer(says_nothing)) as (stream, channel):
        link = SignerLink(channel)

        async def through(user: str, timeout_s: float = AMPLE_S) -> object:
            try:
                return await link.call(stream.ask, asked(user), timeout_s=timeout_s)
            except grpc.aio.AioRpcError as error:
                return error.code()
            except PaycoreError as error:
                return error.reason

        waits = [asyncio.create_task(through(user, 0.4)) for user in "abc"]
        await asyncio.sleep(0.1)
        assert [await through("d") for _ in range(2 * TRIPS_AFTER)] == [Reason.OVERLOADED] * 6
        assert await asyncio.gather(*waits) == [grpc.StatusCode.DEADLINE_EXCEEDED] * 3
        # Which is silence, thrice.
        assert await through("e") is Reason.SIGNER_UNAVAILABLE


async def test_who_waits_when_the_process_stops_hears_so() -> None:
    async with asking(Peer(says_nothing)) as (stream, _):
        waits = asyncio.create_task(ask(stream, "a"))
        while not waiting():
            await asyncio.sleep(0.01)
        await stream.stop()
        assert await asyncio.wait_for(waits, 1.0) == "UNAVAILABLE"
