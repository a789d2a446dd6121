"""From the requests of limits to their commands, and back."""

from __future__ import annotations

from collections.abc import Callable, Collection

from command_service.policy.commands import RemoveLimit, SetLimit
from command_service.servicers.fields import MAX_NAME, Fields
from command_service.servicers.policy_frame import PolicyFrame, expected_revision
from paycore.domain.idempotency import command_hash
from paycore.domain.limits import (
    Limit,
    Place,
    RateLimit,
    Setting,
    VelocityLimit,
    place_faults,
    rate_faults,
    velocity_faults,
)
from paycore.domain.rules import Rules
from paycore.runtime.limits.table import Said
from paycore.v1 import policy_service_pb2 as pb2

MAX_METHOD = 193
"""Longest name of a method that the tables keep."""

NAMES = {pb2.LimitName.Value(f"LIMIT_NAME_{one.name}"): one for one in Limit}


class LimitRequests:
    """Checks requests and translates them.

    Each method raises PaycoreError INVALID_FIELD with every bad field, and NOT_PERMITTED.
    """

    def __init__(
        self,
        rules: Callable[[], Rules],
        secret: bytes,
        clients: Collection[str],
        methods: Collection[str],
    ) -> None:
        """`secret` is the key of request hashes.

        `clients` and `methods` (`package.Service/Method`) are those that limits can be set for.
        """
        self._frame = PolicyFrame(rules)
        self._secret = secret
        self._clients = clients
        self._methods = methods

    def setting(self, request: pb2.SetLimitRequest, client: str) -> SetLimit:
        """A limit to be set."""
        fields = Fields()
        actor = self._frame.actor(request, fields, client)
        place = _place("limit.place", request.limit.place, fields)
        if place.client and place.client not in self._clients:
            fields.violate("limit.place.client", "a client that may call anything")
        if place.method and place.method not in self._methods:
            fields.violate("limit.place.method", "package.Service/Method of accounts or transfers")
        for field, wanted in place_faults(place).items():
            fields.violate(f"limit.place.{field}", wanted)
        setting = _setting(request.limit, place.limit, fields)
        fields.check()
        return SetLimit(
            client,
            request.idempotency_key,
            command_hash(
                self._secret,
                "set_limit/1",
                *place,
                request.limit.WhichOneof("setting"),
                *_figures(setting),
                request.reason,
            ),
            place,
            setting,
            expected_revision(request),
            request.reason,
            actor,
        )

    def removal(self, request: pb2.RemoveLimitRequest, client: str) -> RemoveLimit:
        """A limit to be removed, also one of a client or a method that is gone."""
        fields = Fields()
        actor = self._frame.actor(request, fields, client)
        place = _place("place", request.place, fields)
        fields.check()
        return RemoveLimit(
            client,
            request.idempotency_key,
            command_hash(self._secret, "remove_limit/1", *place, request.reason),
            place,
            expected_revision(request),
            request.reason,
            actor,
        )


def place_of(request: pb2.GetLimitRequest) -> Place:
    """The place that is asked about. Raises PaycoreError INVALID_FIELD."""
    fields = Fields()
    place = _place("place", request.place, fields)
    fields.check()
    return place


def limit_message(place: Place, said: Said) -> pb2.Limit:
    """What is said of `place`."""
    message = pb2.Limit(
        place=pb2.LimitPlace(
            client=place.client,
            method=place.method,
            name=pb2.LimitName.Value(f"LIMIT_NAME_{place.limit.name}"),
        ),
        source=pb2.LimitSource.Value(f"LIMIT_SOURCE_{said.source.value}"),
        revision=said.revision,
    )
    match said.setting:
        case RateLimit(per_s=per_s, burst=burst):
            message.rate.CopyFrom(pb2.RateLimit(per_s=per_s, burst=burst))
        case VelocityLimit() as velocity:
            message.velocity.CopyFrom(pb2.VelocityLimit(**velocity._asdict()))
        case None:
            message.off.SetInParent()
    return message


def _place(path: str, message: pb2.LimitPlace, fields: Fields) -> Place:
    fields.text(f"{path}.client", message.client, MAX_NAME)
    fields.text(f"{path}.method", message.method, MAX_METHOD)
    limit = NAMES.get(message.name)
    if limit is None:
        fields.violate(f"{path}.name", f"one of {', '.join(one.name for one in Limit)}")
    return Place(message.client, message.method, limit or Limit.CLIENT)


def _setting(message: pb2.Limit, limit: Limit, fields: Fields) -> Setting:
    kind = message.WhichOneof("setting")
    wanted = "velocity" if limit is Limit.VELOCITY else "rate"
    if kind is None:
        fields.violate("limit.setting", "rate, velocity or off")
    elif kind not in (wanted, "off") and message.place.name in NAMES:
        fields.violate(f"limit.{kind}", f"{wanted} or off, of this limit")
    if kind == "rate":
        rate = message.rate
        for field, wrong in rate_faults(rate.per_s, rate.burst).items():
            fields.violate(f"limit.rate.{field}", wrong)
        return RateLimit(rate.per_s, rate.burst)
    if kind == "velocity":
        velocity = message.velocity
        figures = (velocity.window_s, velocity.payees, velocity.identifiers)
        for field, wrong in velocity_faults(*figures).items():
            fields.violate(f"limit.velocity.{field}", wrong)
        return VelocityLimit(*figures)
    return None


def _figures(setting: Setting) -> tuple[object, ...]:
    match setting:
        case RateLimit(per_s=per_s, burst=burst):
            return (per_s, burst)
        case VelocityLimit():
            return setting
        case None:
            return ()
