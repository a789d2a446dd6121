"""Keys are asked for when one is unknown, and not more often than is good."""

from __future__ import annotations

import asyncio

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from command_service.admission.signer_keys import (
    MAX_KEYS,
    REFRESH_INTERVAL_S,
    AuthorizationKeys,
)
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.step_up import Authorization, AuthorizationMethod, signed_bytes

OLD, NEW = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


class Clock:
    """Stands still until told otherwise."""

    def __init__(self) -> None:
        self.s = 100.0

    def now_us(self) -> int:
        return int(self.s * 1_000_000)

    def monotonic_s(self) -> float:
        return self.s


class Published:
    """The list of keys as it stands, counting who asks."""

    def __init__(self) -> None:
        self.keys = {"old": OLD.public_key().public_bytes_raw()}
        self.asked = 0
        self.failure: PaycoreError | None = None

    async def fetch(self) -> dict[str, bytes]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return dict(self.keys)


def signed(key: Ed25519PrivateKey, key_id: str) -> Authorization:
    blank = Authorization(
        id=1,
        user_id="user-1",
        method=AuthorizationMethod.PIN,
        digest=bytes(32),
        issued_at_us=1,
        expires_at_us=2,
        key_id=key_id,
        signature=b"",
        signed_at_us=0,
    )
    return blank._replace(signature=key.sign(signed_bytes(blank)))


async def refused(keys: AuthorizationKeys, authorization: Authorization) -> Reason:
    with pytest.raises(PaycoreError) as raised:
        await keys.verify(authorization)
    return raised.value.reason


async def test_a_known_key_is_asked_for_once_however_many_need_it() -> None:
    published = Published()
    keys = AuthorizationKeys(published.fetch, Clock())
    await asyncio.gather(*(keys.verify(signed(OLD, "old")) for _ in range(20)))
    await keys.verify(signed(OLD, "old"))
    assert published.asked == 1


async def test_a_new_key_is_found_after_rotation_and_the_old_one_stays() -> None:
    published, clock = Published(), Clock()
    keys = AuthorizationKeys(published.fetch, clock)
    await keys.verify(signed(OLD, "old"))
    published.keys["new"] = NEW.public_key().public_bytes_raw()
    clock.s += REFRESH_INTERVAL_S
    await keys.verify(signed(NEW, "new"))
    await keys.verify(signed(OLD, "old"))
    assert published.asked == 2


async def test_unknown_keys_do_not_make_us_ask_without_end() -> None:
    published, clock = Published(), Clock()
    keys = AuthorizationKeys(published.fetch, clock)
    for number in range(50):
        unknown = signed(NEW, f"unknown-{number}")
        assert await refused(keys, unknown) is Reason.AUTHORIZATION_INVALID
    assert published.asked == 1
    clock.s += REFRESH_INTERVAL_S
    assert await refused(keys, signed(NEW, "unknown")) is Reason.AUTHORIZATION_INVALID
    assert published.asked == 2


async def test_a_signature_of_another_key_is_refused() -> None:
    keys = AuthorizationKeys(Published().fetch, Clock())
    assert await refused(keys, signed(NEW, "old")) is Reason.AUTHORIZATION_INVALID


async def test_while_the_keys_cannot_be_had_the_refusal_says_so_and_is_not_remembered() -> None:
    published = Published()
    published.failure = PaycoreError(Reason.SIGNER_UNAVAILABLE, "away")
    keys = AuthorizationKeys(published.fetch, Clock())
    assert await refused(keys, signed(OLD, "old")) is Reason.SIGNER_UNAVAILABLE
    published.failure = None
    await keys.verify(signed(OLD, "old"))


async def test_a_list_that_is_too_long_or_damaged_is_refused_whole() -> None:
    published = Published()
    published.keys = {str(number): bytes(32) for number in range(MAX_KEYS + 1)}
    keys = AuthorizationKeys(published.fetch, Clock())
    assert await refused(keys, signed(OLD, "old")) is Reason.INTERNAL
    published.keys = {"old": b"short"}
    assert await refused(keys, signed(OLD, "old")) is Reason.INTERNAL
