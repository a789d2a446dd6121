"""`python -m operations.verify_authorization`: is a stored authorization genuine, and for what?

Stands alone: it needs the file of public keys, as GetPublicKeys gives it in JSON, and a file with
the authorization and what it is said to approve; no database, no service, and nothing of ours but
`paycore.domain`. docs/step_up_digest.md describes both files.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from paycore.domain.step_up import (
    AUTHORIZATION_LIFETIME_US,
    Authorization,
    AuthorizationMethod,
    GroupIntent,
    GroupLeg,
    Intent,
    PaymentIntent,
    intent_digest,
    signed_bytes,
)

GENUINE, REFUSED, UNREADABLE = 0, 1, 2
"""Exit codes."""

MAX_FILE_BYTES = 16 * 1024 * 1024
PURPOSE = "KEY_PURPOSE_AUTHORIZATION"

_INTEGERS = frozenset({"debit_account", "credit_account", "amount", "signed_at_us", "payer"})


class UnreadableError(Exception):
    """A file does not have the form that is described; the message says where."""


def verify(record: Mapping[str, Any], keys: Mapping[str, bytes]) -> str | None:
    """Why `record` is not a genuine authorization of what it names, or None when it is.

    `keys` are raw Ed25519 public keys by id. Raises UnreadableError.
    """
    intent = _intent(record)
    authorization = _authorization(record, intent.signed_at_us)
    try:
        digest = intent_digest(intent)
        message = signed_bytes(authorization)
    except ValueError as error:
        return f"it has no encoding: {error}"
    if authorization.digest != digest:
        return "the digest is that of something else"
    lifetime_us = authorization.expires_at_us - authorization.issued_at_us
    if not 0 < lifetime_us <= AUTHORIZATION_LIFETIME_US:
        return "its lifetime is out of bounds"
    posted_at_us = _optional_integer(record, "posted_at_us")
    if posted_at_us is not None and posted_at_us > authorization.expires_at_us:
        return "it had expired when it was posted"
    key = keys.get(authorization.key_id)
    if key is None:
        return f"there is no published key {authorization.key_id}"
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(authorization.signature, message)
    except (InvalidSignature, ValueError):
        return "the signature is not genuine"
    return None


def read_keys(text: str) -> dict[str, bytes]:
    """The keys that sign authorizations, by id. Raises UnreadableError."""
    keys = {}
    try:
        for key in json.loads(text)["keys"]:
            if key["purpose"] == PURPOSE:
                keys[str(key["keyId"])] = base64.b64decode(key["publicKey"], validate=True)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UnreadableError("the keys are not GetPublicKeysResponse in JSON") from None
    return keys


def read_record(text: str) -> Mapping[str, Any]:
    """The authorization with what it is said to approve. Raises UnreadableError."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        raise UnreadableError("the authorization is not JSON") from None
    if not isinstance(record, dict):
        raise UnreadableError("the authorization is not an object")
    return record


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify what the command line names; the exit code: 0 genuine, 1 not, 2 not readable."""
    parser = argparse.ArgumentParser(prog="verify_authorization", description=__doc__)
    parser.add_argument("--keys", type=Path, required=True, help="published keys, in JSON")
    parser.add_argument("authorization", type=Path, help="the stored authorization, in JSON")
    given = parser.parse_args(arguments)
    try:
        keys = read_keys(_read(given.keys))
        why = verify(read_record(_read(given.authorization)), keys)
    except (UnreadableError, OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"{error}\n")
        return UNREADABLE
    sys.stdout.write("genuine\n" if why is None else f"NOT genuine: {why}\n")
    return GENUINE if why is None else REFUSED


def _read(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise UnreadableError(f"{path} is too large")
    return content.decode("utf-8")


def _intent(record: Mapping[str, Any]) -> Intent:
    if ("payment" in record) == ("group" in record):
        raise UnreadableError("there is either a payment or a group")
    if "payment" in record:
        return PaymentIntent(**_fields(record["payment"], PaymentIntent._fields, "payment"))
    group = record["group"]
    if not isinstance(group, dict) or not isinstance(group.get("legs"), list):
        raise UnreadableError("a group has a list of legs")
    legs = tuple(GroupLeg(**_fields(leg, GroupLeg._fields, "a leg")) for leg in group["legs"])
    rest = {name: value for name, value in group.items() if name != "legs"}
    names = tuple(name for name in GroupIntent._fields if name != "legs")
    return GroupIntent(legs=legs, **_fields(rest, names, "group"))


def _fields(values: Any, names: Sequence[str], where: str) -> dict[str, Any]:
    if not isinstance(values, dict) or set(values) != set(names):
        raise UnreadableError(f"{where} has exactly the fields {', '.join(names)}")
    return {
        name: _integer(values[name], name) if name in _INTEGERS else _text(values[name], name)
        for name in names
    }


def _authorization(record: Mapping[str, Any], signed_at_us: int) -> Authorization:
    fields = record.get("authorization")
    names = tuple(name for name in Authorization._fields if name != "signed_at_us")
    if not isinstance(fields, dict) or set(fields) != set(names):
        raise UnreadableError(f"authorization has exactly the fields {', '.join(names)}")
    try:
        return Authorization(
            id=_integer(fields["id"], "id"),
            user_id=_text(fields["user_id"], "user_id"),
            method=AuthorizationMethod(_text(fields["method"], "method")),
            digest=bytes.fromhex(_text(fields["digest"], "digest")),
            issued_at_us=_integer(fields["issued_at_us"], "issued_at_us"),
            expires_at_us=_integer(fields["expires_at_us"], "expires_at_us"),
            key_id=_text(fields["key_id"], "key_id"),
            signature=bytes.fromhex(_text(fields["signature"], "signature")),
            signed_at_us=signed_at_us,
        )
    except ValueError:
        raise UnreadableError("method, digest or signature is not what it must be") from None


def _optional_integer(record: Mapping[str, Any], name: str) -> int | None:
    return _integer(record[name], name) if name in record else None


def _integer(value: Any, name: str) -> int:
    if isinstance(value, str) and len(value) <= 20 and value.removeprefix("-").isdecimal():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise UnreadableError(f"{name} is not an integer")


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise UnreadableError(f"{name} is not a text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise UnreadableError(f"{name} is not Unicode text") from None
    return value


if __name__ == "__main__":
    sys.exit(main())
