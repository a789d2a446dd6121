"""Answers the RPCs of SigningService."""

from __future__ import annotations

from paycore.runtime.server import Call
from paycore.signing.v1 import signing_service_pb2 as pb
from signing_service import messages
from signing_service.authorizer import Authorizer
from signing_service.enrolment import Enroller
from signing_service.keystore.port import Keystore


class SigningServicer:
    """Translates; what is decided is decided behind it."""

    def __init__(self, authorizer: Authorizer, enroller: Enroller, keystore: Keystore) -> None:
        self._authorizer = authorizer
        self._enroller = enroller
        self._keystore = keystore

    async def EnrollPin(  # noqa: N802  # the RPC's name
        self, request: pb.EnrollPinRequest, call: Call
    ) -> pb.EnrollPinResponse:
        """Set a first PIN."""
        user_id, sealed = messages.enrolment_of(request)
        enrolled_at_us = await self._enroller.enrol(user_id, sealed)
        return pb.EnrollPinResponse(enroll_time=messages.time_message(enrolled_at_us))

    async def Authorize(  # noqa: N802  # the RPC's name
        self, request: pb.AuthorizeRequest, call: Call
    ) -> pb.AuthorizeResponse:
        """Check a proof and sign."""
        question = messages.question_of(request)
        authorization = await self._authorizer.authorize(question, call.deadline_s)
        return pb.AuthorizeResponse(authorization=messages.authorization_message(authorization))

    async def GetPublicKeys(  # noqa: N802  # the RPC's name
        self, request: pb.GetPublicKeysRequest, call: Call
    ) -> pb.GetPublicKeysResponse:
        """List the keys to seal to and to verify with."""
        return pb.GetPublicKeysResponse(
            keys=[messages.key_message(key) for key in self._keystore.public_keys()]
        )
