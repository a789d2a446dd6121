"""Decides whether a payer approved a payment, or their part of a group, and signs that they did."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import structlog

from paycore.domain.device_key import DeviceAlgorithm, DeviceSignature
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.pin import SealedPin
from paycore.domain.step_up import (
    AUTHORIZATION_LIFETIME_US,
    SIGN_TIME_WINDOW_US,
    Authorization,
    AuthorizationMethod,
    Intent,
    authorization_bytes,
    intent_digest,
    is_fresh,
)
from paycore.runtime.clock import Clock
from signing_service.attempts import Approval, Earn
from signing_service.device_keys import DeviceKey
from signing_service.device_store import DeviceStore
from signing_service.events import DeviceRefusedError
from signing_service.keystore.port import Keystore
from signing_service.metrics import VERDICTS
from signing_service.pin_check import PinChecker, PinProof
from signing_service.store import Store
from signing_service.under_way import UnderWay

log = structlog.get_logger()

_NOBODY = DeviceKey(
    DeviceAlgorithm.ED25519,
    bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"),
)
"""What the signatures of devices that do not exist are compared with (RFC 8032, test 1)."""


class Question(NamedTuple):
    """Did `user_id` approve `intent`, as `proof` says?"""

    user_id: str
    intent: Intent
    proof: SealedPin | DeviceSignature


class Authorizer:
    """Evaluates proofs of payments and groups."""

    def __init__(
        self,
        store: Store,
        devices: DeviceStore,
        checker: PinChecker,
        keystore: Keystore,
        clock: Clock,
        under_way: UnderWay,
    ) -> None:
        self._store = store
        self._devices = devices
        self._checker = checker
        self._keystore = keystore
        self._clock = clock
        self._under_way = under_way

    async def authorize(self, question: Question, deadline_s: float) -> Authorization:
        """The authorization that the proof earns, or has earned before.

        `deadline_s` is the caller's, on the monotonic clock. Raises PaycoreError:
        AUTHORIZATION_EXPIRED when the sign time is too far from now; AUTHORIZATION_INVALID when the
        intent has no digest, when the device's signature is not that of a device of the user which
        is in force, or when another user's approval is recorded for the digest; and as
        `PinChecker.require` does.
        """
        return await self._under_way.run(self._counted(question, deadline_s))

    def begin(self, question: Question, deadline_s: float) -> asyncio.Task[Authorization]:
        """As `authorize`, for a caller who is told of the end; not to be cancelled."""
        return self._under_way.start(self._counted(question, deadline_s))

    async def _counted(self, question: Question, deadline_s: float) -> Authorization:
        outcome = Reason.INTERNAL.value
        try:
            authorization = await self._authorize(question, deadline_s)
            outcome = "AUTHORIZED"
            return authorization
        except PaycoreError as error:
            outcome = error.reason.value
            raise
        finally:
            VERDICTS.labels(outcome).inc()

    async def _authorize(self, question: Question, deadline_s: float) -> Authorization:
        signed_at_us = question.intent.signed_at_us
        if not is_fresh(signed_at_us, self._clock.now_us()):
            raise _expired("the sign time is too far from the signing service's clock")
        try:
            digest = intent_digest(question.intent)
        except ValueError as error:
            raise _invalid(f"what was approved has no digest: {error}") from None
        match question.proof:
            case SealedPin():
                return await self._by_pin(question, question.proof, digest, deadline_s)
            case DeviceSignature():
                return await self._by_device(question, question.proof, digest)

    async def _by_pin(
        self, question: Question, sealed: SealedPin, digest: bytes, deadline_s: float
    ) -> Authorization:
        approval: Approval | None = None

        async def prepare(attempt_id: int) -> Earn:
            nonlocal approval
            approval = Approval(self._sign(attempt_id, question, digest, AuthorizationMethod.PIN))
            return approval

        fresh_until_us = question.intent.signed_at_us + SIGN_TIME_WINDOW_US
        proof = PinProof(question.user_id, sealed, digest, fresh_until_us)
        await self._checker.require(proof, prepare, deadline_s)
        if approval is None or approval.recorded is None:
            # The proof had its verdict before.
            return await self._recorded(question.user_id, digest)
        return self._given_out(approval.recorded, question.user_id)

    async def _by_device(
        self, question: Question, proof: DeviceSignature, digest: bytes
    ) -> Authorization:
        user_id = question.user_id
        key = await self._devices.find_key(proof.device_id, user_id)
        if not (key or _NOBODY).signed(proof.signature, digest) or key is None:
            raise _no_device(proof.device_id, "the signature is not the device's")
        authorization = self._sign(
            await self._devices.next_id(), question, digest, AuthorizationMethod.DEVICE
        )
        match await self._devices.authorize(proof.device_id, authorization):
            case None:
                raise _no_device(proof.device_id, "the device is not in force")
            case True:
                return authorization
            case False:
                # Signed for nothing: what is given out is what is recorded.
                return await self._recorded(user_id, digest)

    def _sign(
        self,
        authorization_id: int,
        question: Question,
        digest: bytes,
        method: AuthorizationMethod,
    ) -> Authorization:
        key_id = self._keystore.signing_key_id
        issued_at_us = self._clock.now_us()
        expires_at_us = issued_at_us + AUTHORIZATION_LIFETIME_US
        message = authorization_bytes(
            authorization_id=authorization_id,
            user_id=question.user_id,
            method=method,
            digest=digest,
            issued_at_us=issued_at_us,
            expires_at_us=expires_at_us,
            key_id=key_id,
        )
        return Authorization(
            id=authorization_id,
            user_id=question.user_id,
            method=method,
            digest=digest,
            issued_at_us=issued_at_us,
            expires_at_us=expires_at_us,
            key_id=key_id,
            signature=self._keystore.sign(key_id, message),
            signed_at_us=question.intent.signed_at_us,
        )

    async def _recorded(self, user_id: str, digest: bytes) -> Authorization:
        return self._given_out(await self._store.find_authorization(digest), user_id)

    def _given_out(self, authorization: Authorization | None, user_id: str) -> Authorization:
        if authorization is None or authorization.user_id != user_id:
            log.error("digest was authorized for another user")
            raise _invalid("another user's approval is recorded for this payment")
        if authorization.expires_at_us <= self._clock.now_us():
            raise _expired("the authorization of this payment has expired")
        return authorization


def _no_device(device_id: str, why: str) -> PaycoreError:
    """One answer for every cause: a caller learns neither which devices nor which users exist."""
    return DeviceRefusedError(device_id, why)


def _invalid(why: str) -> PaycoreError:
    return PaycoreError(Reason.AUTHORIZATION_INVALID, "the proof is not valid", {"why": why})


def _expired(why: str) -> PaycoreError:
    return PaycoreError(Reason.AUTHORIZATION_EXPIRED, "the proof is too old", {"why": why})
