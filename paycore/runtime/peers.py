"""Who is at the other end of a connection, by the certificate that it showed."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
from cryptography import x509

from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.certificates import UNREADABLE, certificate_identity
from paycore.runtime.clock import Clock

if TYPE_CHECKING:
    Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]

KNOWN_FOR_S = 60.0
"""After so long a connection's certificate is looked at again, in seconds."""

MOST_KNOWN = 10_000
"""Connections that are remembered; the one looked at longest ago is forgotten first."""

_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Peer:
    """A caller. Its certificate ends in `ends_us` (microseconds since 1970)."""

    identity: str
    ends_us: int


@dataclass(frozen=True, slots=True)
class _Known:
    peer: Peer
    until_s: float


class Peers:
    """Looks at a certificate once a connection and minute: its parsing costs more than a look-up.

    A connection may outlive its certificate, and so may a TLS session that is resumed: whoever
    shows a certificate that has ended since is refused.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[tuple[object, ...], _Known] = OrderedDict()

    def identify(self, context: Context) -> Peer:
        """Raises PaycoreError UNAUTHENTICATED, saying what is wrong with the certificate."""
        # An address is used again by other connections: the names go with it.
        key = (context.peer(), *(context.peer_identities() or ()))
        now_s = self._clock.monotonic_s()
        known = self._known.get(key)
        if known is not None and now_s < known.until_s:
            return known.peer
        now_us = self._clock.now_us()
        peer = _peer_of(context, now_us)
        until_s = now_s + min(KNOWN_FOR_S, (peer.ends_us - now_us) / _US)
        self._known.pop(key, None)
        self._known[key] = _Known(peer, until_s)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        return peer


def _peer_of(context: Context, now_us: int) -> Peer:
    shown = context.auth_context().get("x509_pem_cert")
    if not shown:
        raise _unauthenticated("no certificate was shown")
    return peer_of(next(iter(shown)), now_us)


def peer_of(pem: bytes, now_us: int) -> Peer:
    """The caller whom the certificate `pem` names; its signature was checked by the handshake.

    Raises PaycoreError UNAUTHENTICATED.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        identity = certificate_identity(certificate)
    except (ValueError, *UNREADABLE) as error:
        raise _unauthenticated(str(error)) from None
    ends_us = int(certificate.not_valid_after_utc.timestamp() * _US)
    if now_us >= ends_us:
        raise _unauthenticated("it has expired")
    return Peer(identity, ends_us)


def _unauthenticated(why: str) -> PaycoreError:
    return PaycoreError(
        Reason.UNAUTHENTICATED, f"the certificate names no caller: {why}", {"why": why}
    )
