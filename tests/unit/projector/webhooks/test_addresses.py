"""Where deliveries may go, and that the address which was checked is the one that is used."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

import pytest
from aiohttp import web

from projector.webhooks.addresses import AddressRefusedError, AddressRules, CheckedResolver
from projector.webhooks.sender import Answer, Failure, Sender

PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700::1111"]
REFUSED = [
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%lo",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:0:7f00:1::",
    "::127.0.0.1",
    "fec0::1",
    "feff::a9fe:a9fe",
    "3fff::1",
    "3fff:fff::1",
    "168.63.129.16",
    "::ffff:168.63.129.16",
]
NOWHERE = AddressRules("")
LOOPBACK = AddressRules("127.0.0.0/8, ::1/128")


@pytest.mark.parametrize("text", PUBLIC)
def test_the_public_internet_is_allowed(text: str) -> None:
    assert str(NOWHERE.check(text)) == text


@pytest.mark.parametrize("text", [*REFUSED, "", "name.example", "127.1"])
def test_all_else_is_refused(text: str) -> None:
    with pytest.raises(AddressRefusedError):
        NOWHERE.check(text)


def test_a_setting_allows_networks_and_no_more() -> None:
    for text in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        LOOPBACK.check(text)
    for text in ("10.0.0.1", "169.254.169.254", "fe80::1"):
        with pytest.raises(AddressRefusedError):
            LOOPBACK.check(text)
    with pytest.raises(ValueError, match="host bits"):
        AddressRules("10.0.0.1/8")


def test_a_setting_refuses_networks_also_of_those_that_are_allowed() -> None:
    rules = AddressRules("10.0.0.0/8, fec0::/16", refused="10.0.0.5/32, 8.8.8.0/24,2606:4700::/32")
    for text in ("10.0.0.4", "8.8.4.4", "fec0::1", "::ffff:10.0.0.4"):
        rules.check(text)
    for text in ("10.0.0.5", "::ffff:10.0.0.5", "8.8.8.8", "::ffff:8.8.8.8", "2606:4700::1111"):
        with pytest.raises(AddressRefusedError):
            rules.check(text)
    with pytest.raises(ValueError, match="host bits"):
        AddressRules("", refused="10.0.0.1/8")


class Names:
    """Answers look-ups as told, one after the other, and the last for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def look(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def test_a_name_that_leads_inside_as_well_is_refused() -> None:
    resolver = CheckedResolver(NOWHERE, Names(["8.8.8.8", "10.0.0.1"]).look)
    with pytest.raises(AddressRefusedError):
        await resolver.resolve("both.example", 443)


async def served() -> tuple[web.AppRunner, int, list[str]]:
    """An endpoint on loopback, its port, and the hosts by which it was asked."""
    hosts: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        hosts.append(request.host)
        return web.Response(headers={"Retry-After": "7"}, status=503)

    app = web.Application()
    app.router.add_post("/", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, runner.addresses[0][1], hosts


async def test_what_was_checked_is_what_is_connected_to() -> None:
    runner, port, hosts = await served()
    # The second look would lead elsewhere: there is none.
    names = Names(["127.0.0.1"], ["10.255.255.1"])
    sender = Sender(LOOPBACK, within_s=5, http=True, look=names.look)
    answer = await sender.post(f"http://rebinding.example:{port}/", {}, b"{}")
    assert answer == Answer(503, wait_s=7.0)
    assert hosts == [f"rebinding.example:{port}"]
    assert names.asked == ["rebinding.example"]
    # And the name is looked up, and checked, each time.
    answer = await sender.post(f"http://rebinding.example:{port}/", {}, b"{}")
    assert answer.failure is Failure.ADDRESS_REFUSED
    await sender.close()
    await runner.cleanup()


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "169.254.169.254", "10.0.0.1"],
)
async def test_nothing_leaves_for_an_address_that_is_refused(host: str) -> None:
    sender = Sender(NOWHERE, within_s=5, http=True)
    answer = await sender.post(f"http://{host}:65000/", {}, b"{}")
    assert answer.failure is Failure.ADDRESS_REFUSED
    await sender.close()


async def test_a_name_that_nobody_knows_and_plain_http_are_failures() -> None:
    async def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    sender = Sender(LOOPBACK, within_s=5, http=False, look=unknown)
    assert (await sender.post("https://no.example/", {}, b"")).failure is Failure.NAME_NOT_FOUND
    assert (await sender.post("http://no.example/", {}, b"")).failure is Failure.URL_REFUSED
    await sender.close()


async def answered_with(raw: bytes) -> Answer:
    """What comes of an endpoint that writes `raw` and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sender = Sender(LOOPBACK, within_s=5, http=True)
    answer = await sender.post(f"http://127.0.0.1:{port}/", {}, b"")
    await sender.close()
    server.close()
    return answer


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 999999 ?\r\n\r\n",
    ],
)
async def test_what_is_no_answer_is_a_failure(raw: bytes) -> None:
    assert (await answered_with(raw)).failure is Failure.BAD_ANSWER


async def test_an_endpoint_without_tls_is_no_endpoint_of_https() -> None:
    runner, port, hosts = await served()
    sender = Sender(LOOPBACK, within_s=5, http=True)
    answer = await sender.post(f"https://127.0.0.1:{port}/", {}, b"")
    assert answer.failure in (Failure.CERTIFICATE_REFUSED, Failure.BAD_ANSWER)
    assert hosts == []
    await sender.close()
    await runner.cleanup()


async def test_without_the_public_internet_only_networks_are_left_and_no_name_is_looked_up() -> (
    None
):
    inside = AddressRules("127.0.0.0/8", public=False)
    inside.check("127.0.0.1")
    for text in PUBLIC:
        with pytest.raises(AddressRefusedError):
            inside.check(text)
    names = Names(["127.0.0.1"])
    resolver = CheckedResolver(inside, names.look)
    with pytest.raises(AddressRefusedError):
        await resolver.resolve("name.example", 443)
    assert names.asked == []
    assert [one["host"] for one in await resolver.resolve("localhost", 443)] == ["127.0.0.1"]
