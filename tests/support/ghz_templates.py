"""What ghz makes of a configuration's data, call by call, and what it would send."""

from __future__ import annotations

import datetime
import importlib
import json
import random
import re
import string
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

PROTOS = Path(__file__).resolve().parents[2] / "protos"
PUBLIC = "paycore/v1"
"""What the command and the query service serve."""

_ACTION = re.compile(r"{{(.*?)}}")


def public_methods() -> dict[str, MethodDescriptor]:
    """Every method of the public contract, by `package.Service/Method`."""
    found = {}
    for path in sorted((PROTOS / PUBLIC).glob("*_service.proto")):
        module = importlib.import_module(f"{PUBLIC.replace('/', '.')}.{path.stem}_pb2")
        for service in module.DESCRIPTOR.services_by_name.values():
            found.update({f"{service.full_name}/{one.name}": one for one in service.methods})
    return found


def rendered(data: Any, rng: random.Random) -> Any:
    """`data` with ghz's templates filled in; each call has values of its own.

    Raises ValueError where a template is none that every release of ghz since 0.93 has.
    """
    text = _ACTION.sub(lambda found: _value(found[1].strip(), rng), json.dumps(data))
    return json.loads(text)


def messages(method: MethodDescriptor, data: Any, rng: random.Random) -> list[Message]:
    """What ghz sends of `data`: a request for each of its turns, or all messages of one stream.

    Raises json_format.ParseError where it is no request of `method`.
    """
    request: Callable[[], Message] = GetMessageClass(method.input_type)
    turns = data if isinstance(data, list) else [data]
    return [ParseDict(rendered(one, rng), request()) for one in turns]


def _value(action: str, rng: random.Random) -> str:
    name, *arguments = action.split()
    made = _FUNCTIONS.get(name)
    if made is None:
        raise ValueError(f"ghz has no {{{{{action}}}}}")
    return made(rng, *(int(one) for one in arguments))


def _random_text(rng: random.Random, length: int) -> str:
    return "".join(rng.choices(string.ascii_letters + string.digits, k=length))


_FUNCTIONS: Mapping[str, Callable[..., str]] = {
    "newUUID": lambda rng: str(uuid.UUID(int=rng.getrandbits(128), version=4)),
    "randomInt": lambda rng, low, high: str(rng.randrange(low, high)),
    "randomString": _random_text,
    ".RequestNumber": lambda rng: "0",
    ".Timestamp": lambda _: datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
}
