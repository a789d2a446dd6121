"""Page tokens of the list of grants: opaque, and good only for the list they were made for.

A token is a truncated HMAC-SHA256 over caller, filter and place, and the place itself as JSON.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json

from command_service.policy.ledger import GrantPlace
from paycore.domain.errors import PaycoreError, invalid_field

MAX_TOKEN = 4_096
_MAC_BYTES = 16


def seal_place(secret: bytes, place: GrantPlace, caller: str, wanted: str) -> str:
    """The token with which `caller` goes on after `place` in the list of `wanted`'s grants."""
    packed = json.dumps(place).encode("ascii")
    return base64.urlsafe_b64encode(_mac(secret, packed, caller, wanted) + packed).decode("ascii")


def open_place(secret: bytes, token: str, caller: str, wanted: str) -> GrantPlace:
    """The place in `token`; the first where it is empty.

    Raises PaycoreError INVALID_FIELD naming page_token.
    """
    if not token:
        return GrantPlace()
    if len(token) > MAX_TOKEN:
        raise _refused()
    try:
        raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise _refused() from error
    mac, packed = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(secret, packed, caller, wanted)):
        raise _refused()
    return GrantPlace(*json.loads(packed))


def _mac(secret: bytes, packed: bytes, caller: str, wanted: str) -> bytes:
    bound = json.dumps(["paycore.grants", caller, wanted]).encode("ascii")
    return hmac.digest(secret, bound + packed, hashlib.sha256)[:_MAC_BYTES]


def _refused() -> PaycoreError:
    return invalid_field(
        "page_token", "is not a token of this list: repeat the filter it came with, unaltered"
    )
