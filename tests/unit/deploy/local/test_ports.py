"""Ports are free, claimed against other stacks, and kept over starts."""

import random
import socket
from collections.abc import Iterator

import pytest

from deploy.local.errors import NoFreePortError
from deploy.local.ports import LOOPBACK, MAX_TRIES, PortClaims

SEED = 20_300_101


@pytest.fixture
def claims() -> Iterator[PortClaims]:
    claims = PortClaims()
    yield claims
    claims.release()


def test_ports_are_consecutive_and_can_be_bound(claims: PortClaims) -> None:
    ports = claims.claim(3)

    assert ports == (ports[0], ports[0] + 1, ports[0] + 2)
    for port in ports:
        with socket.create_server((LOOPBACK, port)):
            pass


def test_ports_lie_below_those_of_outgoing_connections(claims: PortClaims) -> None:
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        lowest = int(file.read().split()[0])

    assert all(max(claims.claim(2)) < lowest for _ in range(50))


def test_two_stacks_that_would_choose_alike_get_different_ports() -> None:
    first, second = PortClaims(random.Random(SEED)), PortClaims(random.Random(SEED))
    try:
        taken = [port for _ in range(20) for port in first.claim(2)]
        others = [port for _ in range(20) for port in second.claim(2)]
        assert not set(taken) & set(others)
    finally:
        first.release()
        second.release()


def test_the_preferred_ports_are_taken_when_they_are_free(claims: PortClaims) -> None:
    wanted = claims.claim(2)
    claims.release()

    assert claims.claim(2, preferred=wanted) == wanted


def test_a_preferred_port_that_something_listens_on_is_left_alone(claims: PortClaims) -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        assert claims.claim(1, preferred=(port,)) != (port,)


def test_a_released_port_can_be_claimed_by_another_stack(claims: PortClaims) -> None:
    wanted = claims.claim()
    other = PortClaims()
    try:
        assert other.claim(1, preferred=wanted) != wanted
        claims.release()
        assert other.claim(1, preferred=wanted) == wanted
    finally:
        other.release()


def test_the_search_is_bounded() -> None:
    class Stubborn(random.Random):
        def __init__(self, port: int) -> None:
            super().__init__()
            self.port = port
            self.tries = 0

        def randrange(self, *_: object) -> int:
            self.tries += 1
            return self.port

    with socket.create_server((LOOPBACK, 0)) as server:
        chooser = Stubborn(server.getsockname()[1])
        with pytest.raises(NoFreePortError):
            PortClaims(chooser).claim()
    assert chooser.tries == MAX_TRIES
