"""Where deliveries may go: nowhere but to the public internet, unless a setting says otherwise."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from aiohttp.abc import AbstractResolver, ResolveResult

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Look = Callable[[str, int], Awaitable[Sequence[str]]]
"""Finds the addresses of a host, for a port, as text. Raises OSError."""

_TRANSLATED = (
    ip_network("64:ff9b::/96"),
    ip_network("64:ff9b:1::/48"),
    ip_network("2002::/16"),
    ip_network("2001::/32"),
)
"""Addresses of IPv6 that stand for one of IPv4, behind which anything may be."""

_NO_INTERNET = (
    ip_network("fec0::/10"),
    ip_network("3fff::/20"),
    ip_network("168.63.129.16/32"),
)
"""What the registries do not mark as private, or not long enough for every Python to know:
site-local (RFC 3879), documentation (RFC 9637), and where Azure serves its machines."""


class AddressRefusedError(OSError):
    """An address to which nothing may be sent. Not told which: it may say what is inside."""


class AddressRules:
    """Public addresses, and those of `networks`; none of those `refused`."""

    def __init__(self, networks: str, *, refused: str = "", public: bool = True) -> None:
        """Networks with commas between, such as `127.0.0.0/8,::1/128`. Unless `public`, nothing but
        these, and no name is looked up but localhost. Raises ValueError."""
        self._public = public
        self._allowed = _networks(networks)
        self._refused = _networks(refused)

    def allow(self, address: Address) -> bool:
        """Whether something may be sent there."""
        if isinstance(address, IPv6Address):
            if address.ipv4_mapped is not None:
                address = address.ipv4_mapped
            elif address.scope_id is not None:
                return False
        if _among(address, self._refused):
            return False
        if _among(address, self._allowed):
            return True
        if not self._public or _among(address, _TRANSLATED) or _among(address, _NO_INTERNET):
            return False
        return address.is_global and not (
            address.is_multicast
            or address.is_private
            or address.is_loopback
            or address.is_link_local
            or address.is_reserved
            or address.is_unspecified
        )

    def may_look_up(self, host: str) -> bool:
        """Whether the system may be asked for the addresses of the name `host`."""
        return self._public or host.lower().rstrip(".") == "localhost"

    def check(self, text: str) -> Address:
        """The address in `text`. Raises AddressRefusedError where nothing may be sent there."""
        try:
            address = ip_address(text)
        except ValueError:
            raise AddressRefusedError("no address") from None
        if not self.allow(address):
            raise AddressRefusedError("an address to which nothing is sent")
        return address


def _networks(text: str) -> list[Network]:
    return [ip_network(one.strip()) for one in text.split(",") if one.strip()]


def _among(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == one.version and address in one for one in networks)


async def system_look(host: str, port: int) -> Sequence[str]:
    """As the system resolves names."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class CheckedResolver(AbstractResolver):
    """Gives the addresses that were checked, which are then the ones that are connected to: a name
    cannot lead elsewhere in between."""

    def __init__(self, rules: AddressRules, look: Look = system_look) -> None:
        self._rules = rules
        self._look = look

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """All addresses of `host`. Raises AddressRefusedError where any of them is refused: a name
        that leads inside as well is none to be trusted."""
        if not self._rules.may_look_up(host):
            raise AddressRefusedError("a name that is not looked up")
        addresses = [
            self._rules.check(text) for text in dict.fromkeys(await self._look(host, port))
        ]
        return [
            ResolveResult(
                hostname=host,
                host=str(one),
                port=port,
                family=socket.AF_INET if one.version == 4 else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for one in addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""
