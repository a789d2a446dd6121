"""Answers the RPCs of SigningService."""

from __future__ import annotations

from paycore.domain.device_key import DeviceAlgorithm
from paycore.runtime.server import Call
from paycore.signing.v1 import signing_service_pb2 as pb
from signing_service import acting, messages
from signing_service.authorizer import Authorizer
from signing_service.device_keeper import DeviceKeeper, Presented
from signing_service.events import telling
from signing_service.keystore.port import Keystore
from signing_service.message_checks import Checks, sealed_pin_of
from signing_service.pin_keeper import PinKeeper

_ALGORITHMS = {
    pb.DEVICE_ALGORITHM_ED25519: DeviceAlgorithm.ED25519,
    pb.DEVICE_ALGORITHM_P256: DeviceAlgorithm.P256,
}


_NUMBERS = {algorithm: number for number, algorithm in _ALGORITHMS.items()}


class SigningServicer:
    """Translates; what is decided is decided behind it."""

    def __init__(
        self,
        authorizer: Authorizer,
        pins: PinKeeper,
        devices: DeviceKeeper,
        keystore: Keystore,
    ) -> None:
        self._authorizer = authorizer
        self._pins = pins
        self._devices = devices
        self._keystore = keystore

    async def EnrollPin(  # noqa: N802  # the RPC's name
        self, request: pb.EnrollPinRequest, call: Call
    ) -> pb.EnrollPinResponse:
        """Set a first PIN."""
        checks = Checks()
        checks.user(request.user_id)
        checks.sealed_pin(request.sealed_pin, "sealed_pin")
        checks.done()
        acting.begin(call, "EnrollPin")
        with telling(request.user_id, call.client):
            enrolled_at_us = await self._pins.enrol(
                request.user_id, sealed_pin_of(request.sealed_pin), call.client
            )
        return pb.EnrollPinResponse(enroll_time=messages.time_message(enrolled_at_us))

    async def ChangePin(  # noqa: N802  # the RPC's name
        self, request: pb.ChangePinRequest, call: Call
    ) -> pb.ChangePinResponse:
        """Replace a PIN by another."""
        checks = Checks()
        checks.user(request.user_id)
        checks.challenge(request.challenge)
        checks.sealed_pin(request.old_pin, "old_pin")
        checks.sealed_pin(request.new_pin, "new_pin")
        checks.done()
        acting.begin(call, "ChangePin")
        with telling(request.user_id, call.client):
            changed_at_us = await self._pins.change(
                request.user_id,
                request.challenge,
                sealed_pin_of(request.old_pin),
                sealed_pin_of(request.new_pin),
                call.client,
                call.deadline_s,
            )
        return pb.ChangePinResponse(change_time=messages.time_message(changed_at_us))

    async def ResetPin(  # noqa: N802  # the RPC's name
        self, request: pb.ResetPinRequest, call: Call
    ) -> pb.ResetPinResponse:
        """Take a PIN out of force, and the devices of its user."""
        _check_decision(request)
        acting.begin(call, "ResetPin", request.reason)
        revoked = await self._pins.reset(
            request.user_id, request.reason, call.client, keep_devices=request.keep_devices
        )
        return pb.ResetPinResponse(revoked_device_ids=revoked)

    async def UnlockPin(  # noqa: N802  # the RPC's name
        self, request: pb.UnlockPinRequest, call: Call
    ) -> pb.UnlockPinResponse:
        """End a lock."""
        _check_decision(request)
        acting.begin(call, "UnlockPin", request.reason)
        await self._pins.unlock(request.user_id, request.reason, call.client)
        return pb.UnlockPinResponse()

    async def CreateChallenge(  # noqa: N802  # the RPC's name
        self, request: pb.CreateChallengeRequest, call: Call
    ) -> pb.CreateChallengeResponse:
        """Make a challenge."""
        checks = Checks()
        checks.user(request.user_id)
        checks.done()
        challenge = self._pins.challenge(request.user_id)
        return pb.CreateChallengeResponse(
            challenge=challenge.value, expire_time=messages.time_message(challenge.expires_at_us)
        )

    async def EnrollDevice(  # noqa: N802  # the RPC's name
        self, request: pb.EnrollDeviceRequest, call: Call
    ) -> pb.EnrollDeviceResponse:
        """Enrol a device's key with the user's PIN."""
        checks = _presentation(request)
        checks.sealed_pin(request.sealed_pin, "sealed_pin")
        checks.done()
        acting.begin(call, "EnrollDevice")
        with telling(request.user_id, call.client):
            device = await self._devices.enrol(
                _presented(request), sealed_pin_of(request.sealed_pin), call.client, call.deadline_s
            )
        return pb.EnrollDeviceResponse(
            device_id=device.device_id, enroll_time=messages.time_message(device.enrolled_at_us)
        )

    async def VouchForDevice(  # noqa: N802  # the RPC's name
        self, request: pb.VouchForDeviceRequest, call: Call
    ) -> pb.VouchForDeviceResponse:
        """Enrol a device's key on the caller's word."""
        checks = _presentation(request)
        checks.reason(request.reason)
        checks.done()
        acting.begin(call, "VouchForDevice", request.reason)
        with telling(request.user_id, call.client):
            device = await self._devices.vouch(_presented(request), request.reason, call.client)
        return pb.VouchForDeviceResponse(
            device_id=device.device_id, enroll_time=messages.time_message(device.enrolled_at_us)
        )

    async def ListDevices(  # noqa: N802  # the RPC's name
        self, request: pb.ListDevicesRequest, call: Call
    ) -> pb.ListDevicesResponse:
        """List a user's devices in force."""
        checks = Checks()
        checks.user(request.user_id)
        checks.done()
        return pb.ListDevicesResponse(
            devices=[
                pb.Device(
                    device_id=one.device_id,
                    algorithm=_NUMBERS[one.algorithm],
                    enroll_time=messages.time_message(one.enrolled_at_us),
                    vouched_by=one.vouched_by or "",
                )
                for one in await self._devices.in_force(request.user_id)
            ]
        )

    async def RevokeDevice(  # noqa: N802  # the RPC's name
        self, request: pb.RevokeDeviceRequest, call: Call
    ) -> pb.RevokeDeviceResponse:
        """Take a device's key out of force."""
        checks = Checks()
        checks.user(request.user_id)
        checks.device_id(request.device_id, "device_id")
        checks.reason(request.reason)
        checks.done()
        acting.begin(call, "RevokeDevice", request.reason)
        with telling(request.user_id, call.client, request.device_id):
            revoked_at_us = await self._devices.revoke(
                request.user_id, request.device_id, request.reason, call.client
            )
        return pb.RevokeDeviceResponse(revoke_time=messages.time_message(revoked_at_us))

    async def Authorize(  # noqa: N802  # the RPC's name
        self, request: pb.AuthorizeRequest, call: Call
    ) -> pb.AuthorizeResponse:
        """Check a proof and sign."""
        question = messages.question_of(request)
        acting.begin(call, "Authorize")
        with telling(question.user_id, call.client):
            authorization = await self._authorizer.authorize(question, call.deadline_s)
        return pb.AuthorizeResponse(authorization=messages.authorization_message(authorization))

    async def GetPublicKeys(  # noqa: N802  # the RPC's name
        self, request: pb.GetPublicKeysRequest, call: Call
    ) -> pb.GetPublicKeysResponse:
        """List the keys to seal to and to verify with."""
        return pb.GetPublicKeysResponse(
            keys=[messages.key_message(key) for key in self._keystore.public_keys()]
        )


def _check_decision(request: pb.ResetPinRequest | pb.UnlockPinRequest) -> None:
    checks = Checks()
    checks.user(request.user_id)
    checks.reason(request.reason)
    checks.done()


def _presentation(request: pb.EnrollDeviceRequest | pb.VouchForDeviceRequest) -> Checks:
    checks = Checks()
    checks.user(request.user_id)
    checks.challenge(request.challenge)
    checks.device_key(request.key)
    return checks


def _presented(request: pb.EnrollDeviceRequest | pb.VouchForDeviceRequest) -> Presented:
    key = request.key
    return Presented(
        request.user_id,
        request.challenge,
        _ALGORITHMS[key.algorithm],
        key.public_key,
        key.signature,
    )
