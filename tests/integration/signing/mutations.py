"""Ways to alter what approves a payment, each leaving something that approves nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

from paycore.domain.device_key import DeviceSignature
from paycore.domain.pin import SealedPin
from paycore.domain.step_up import (
    Authorization,
    AuthorizationMethod,
    GroupIntent,
    Intent,
    PaymentIntent,
)
from signing_service.authorizer import Question

MINUTES_2_US = 120_000_000
KINDS = ("TRANSFER", "WITHDRAWAL", "HOLD", "DEPOSIT", "")


class Approved(NamedTuple):
    """Questions that are genuine, of the same users, and the keys by which others may be made."""

    questions: list[Question]
    users: list[str]
    key_ids: list[str]
    device_ids: list[str]


def altered_bytes(rng: random.Random, value: bytes) -> bytes:
    """Other bytes than `value`, near to it."""
    place = rng.randrange(len(value)) if value else 0
    before, after = value[:place], value[place + 1 :]
    match rng.randrange(7):
        case 0 if value:
            changed = before + bytes([value[place] ^ (1 << rng.randrange(8))]) + after
        case 1:
            changed = before
        case 2:
            changed = value + rng.randbytes(rng.randint(1, 64))
        case 3:
            changed = before + after
        case 4:
            changed = rng.randbytes(len(value))
        case 5:
            changed = bytes(len(value))
        case _:
            changed = value[place:] + before
    return changed if changed != value else value + b"\0"


def altered_integer(rng: random.Random, value: int) -> int:
    """Another integer than `value`, mostly within int64."""
    bit = value ^ (1 << rng.randrange(63))
    other = rng.choice([value + 1, value - 1, -value, 0, bit, 2**63 - 1, -(2**63), 2**63])
    return other if other != value else value + 2


def altered_text(rng: random.Random, value: str) -> str:
    """Another text than `value`."""
    other = rng.choice([value + "x", value[:-1], value.swapcase(), "", value * 2, "é"])
    return other if other != value else value + "y"


def altered_fields(rng: random.Random, value: Any, name: str | None = None) -> Any:
    """`value`, a tuple with names, with one field altered."""
    field = name or rng.choice(value._fields)
    old = getattr(value, field)
    if isinstance(old, int):
        new: Any = altered_integer(rng, old)
    elif isinstance(old, str):
        new = altered_text(rng, old)
    elif isinstance(old, bytes):
        new = altered_bytes(rng, old)
    else:
        new = _altered_legs(rng, old)
    return value._replace(**{field: new})


def _altered_legs(rng: random.Random, legs: tuple[Any, ...]) -> tuple[Any, ...]:
    place = rng.randrange(len(legs))
    changed = list(legs)
    match rng.randrange(4):
        case 0:
            changed[place] = altered_fields(rng, legs[place])
        case 1:
            del changed[place]
        case 2:
            changed.append(legs[place])
        case _:
            changed.reverse()
    return tuple(changed) if tuple(changed) != legs else (*legs, legs[0])


def altered_intent(rng: random.Random, intent: Intent) -> Intent:
    """Another payment or group than `intent`."""
    altered: Intent = altered_fields(rng, intent)
    return altered


def altered_question(rng: random.Random, approved: Approved) -> Question:
    """A question that is like a genuine one and asks for what nobody approved."""
    question = rng.choice(approved.questions)
    changes: list[Callable[[], Question]] = [
        lambda: question._replace(intent=altered_intent(rng, question.intent)),
        lambda: question._replace(proof=_altered_proof(rng, question.proof, approved)),
        lambda: _swapped(rng, question, approved),
        lambda: _stale(rng, question),
        lambda: _replayed(question),
    ]
    if isinstance(question.proof, DeviceSignature):
        # A sealed PIN opens for any user asked about: it is then one guess at that user's PIN.
        changes.append(lambda: question._replace(user_id=altered_text(rng, question.user_id)))
    return rng.choice(changes)()


def _altered_proof(
    rng: random.Random, proof: SealedPin | DeviceSignature, approved: Approved
) -> SealedPin | DeviceSignature:
    match proof:
        case SealedPin():
            if rng.random() < 0.2:
                other = [key_id for key_id in approved.key_ids if key_id != proof.key_id]
                return proof._replace(key_id=rng.choice(other))
            altered: SealedPin = altered_fields(rng, proof)
            return altered
        case DeviceSignature():
            if rng.random() < 0.2:
                other = [name for name in approved.device_ids if name != proof.device_id]
                return proof._replace(device_id=rng.choice(other))
            changed: DeviceSignature = altered_fields(rng, proof)
            return changed


def _swapped(rng: random.Random, question: Question, approved: Approved) -> Question:
    """The proof of one payment with another."""
    other = rng.choice([one for one in approved.questions if one.intent != question.intent])
    return question._replace(intent=other.intent)


def _stale(rng: random.Random, question: Question) -> Question:
    away_us = rng.choice([-1, 1]) * (2 * MINUTES_2_US + rng.randrange(10**12))
    signed_at_us = question.intent.signed_at_us + away_us
    return question._replace(intent=question.intent._replace(signed_at_us=signed_at_us))


def _replayed(question: Question) -> Question:
    key = question.intent.idempotency_key + "-again"
    return question._replace(intent=question.intent._replace(idempotency_key=key))


def altered_record(
    rng: random.Random, genuine: list[tuple[Authorization, Intent]]
) -> tuple[Authorization, Intent]:
    """An authorization with what it is said to approve, one of which is altered or another's."""
    authorization, intent = rng.choice(genuine)
    match rng.randrange(4):
        case 0:
            other = rng.choice([one for one in genuine if one[1] != intent])
            return authorization, other[1]
        case 1:
            return authorization, altered_intent(rng, intent)
        case 2:
            other = rng.choice([one for one in genuine if one[1] != intent])
            return authorization._replace(signature=other[0].signature), intent
        case _:
            return _altered_authorization(rng, authorization), intent


def _altered_authorization(rng: random.Random, authorization: Authorization) -> Authorization:
    # The sign time is no part of it, but of the digest: it is altered with the intent.
    field = rng.choice([name for name in Authorization._fields if name != "signed_at_us"])
    if field == "method":
        (other,) = set(AuthorizationMethod) - {authorization.method}
        return authorization._replace(method=other)
    altered: Authorization = altered_fields(rng, authorization, field)
    return altered


def record_fields(authorization: Authorization, intent: Intent) -> dict[str, Any]:
    """As `operations.verify_authorization` reads it from a file."""
    signed = authorization._asdict()
    del signed["signed_at_us"]
    signed |= {"digest": authorization.digest.hex(), "signature": authorization.signature.hex()}
    signed["method"] = authorization.method.value
    match intent:
        case PaymentIntent():
            return {"payment": intent._asdict(), "authorization": signed}
        case GroupIntent():
            legs = [leg._asdict() for leg in intent.legs]
            return {"group": {**intent._asdict(), "legs": legs}, "authorization": signed}
