"""A stored authorization verifies with the published keys alone, and nothing but what it names."""

from __future__ import annotations

import base64
import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from operations.verify_authorization import UnreadableError, main, read_keys, read_record, verify
from paycore.domain.step_up import (
    AuthorizationMethod,
    GroupIntent,
    GroupLeg,
    Intent,
    PaymentIntent,
    authorization_bytes,
    intent_digest,
)

SIGNED_US = 1_767_225_600_123_456
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY_ID = "authorization-0123456789abcdef"
PAYMENT = PaymentIntent("TRANSFER", 11, 12, 125_000, "EUR", "app", "order-1", SIGNED_US)
GROUP = GroupIntent(
    "app",
    "payroll-1",
    11,
    (GroupLeg("TRANSFER", 11, 12, 5, "EUR"), GroupLeg("TRANSFER", 21, 22, 7, "USD")),
    SIGNED_US,
)
KEYS_FILE = json.dumps(
    {
        "keys": [
            {
                "keyId": KEY_ID,
                "purpose": "KEY_PURPOSE_AUTHORIZATION",
                "publicKey": base64.b64encode(KEY.public_key().public_bytes_raw()).decode(),
                "current": True,
            },
            {"keyId": "sealing-1", "purpose": "KEY_PURPOSE_SEALING", "publicKey": "AAAA"},
        ]
    }
)


def record_of(intent: Intent) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "user_id": "user-1",
        "method": AuthorizationMethod.DEVICE,
        "digest": intent_digest(intent),
        "issued_at_us": SIGNED_US + 10,
        "expires_at_us": SIGNED_US + 120_000_000,
        "key_id": KEY_ID,
    }
    signature = KEY.sign(authorization_bytes(authorization_id=42, **fields))
    fields |= {"id": 42, "digest": fields["digest"].hex(), "signature": signature.hex()}
    named: dict[str, Any] = intent._asdict()
    if isinstance(intent, GroupIntent):
        named["legs"] = [leg._asdict() for leg in intent.legs]
    kind = "group" if isinstance(intent, GroupIntent) else "payment"
    # As a file has it: 64-bit integers may be texts.
    named["signed_at_us"] = str(named["signed_at_us"])
    return read_record(json.dumps({kind: named, "authorization": fields}))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def keys() -> dict[str, bytes]:
    return read_keys(KEYS_FILE)


@pytest.mark.parametrize("intent", [PAYMENT, GROUP], ids=["payment", "group"])
def test_a_genuine_authorization_verifies(intent: Intent, keys: dict[str, bytes]) -> None:
    assert verify(record_of(intent), keys) is None
    posted = {**record_of(intent), "posted_at_us": SIGNED_US + 1_000}
    assert verify(posted, keys) is None


Change = Callable[[dict[str, Any]], object]
FORGERIES: dict[str, tuple[Change, str]] = {
    "another amount": (lambda r: r["payment"].update(amount=1), "digest"),
    "another payee": (lambda r: r["payment"].update(credit_account=13), "digest"),
    "another key": (lambda r: r["payment"].update(idempotency_key="order-2"), "digest"),
    "an amount without encoding": (lambda r: r["payment"].update(amount=2**63), "encoding"),
    "another user": (lambda r: r["authorization"].update(user_id="user-2"), "signature"),
    "another method": (lambda r: r["authorization"].update(method="PIN"), "signature"),
    "another id": (lambda r: r["authorization"].update(id=43), "signature"),
    "a later expiry": (
        lambda r: r["authorization"].update(expires_at_us=SIGNED_US + 120_000_001),
        "signature",
    ),
    "a long life": (lambda r: r["authorization"].update(expires_at_us=2**62), "lifetime"),
    "an unknown key": (lambda r: r["authorization"].update(key_id="sealing-1"), "no published"),
    "no signature": (lambda r: r["authorization"].update(signature=""), "signature"),
    "posted too late": (lambda r: r.update(posted_at_us=SIGNED_US + 120_000_001), "expired"),
}


@pytest.mark.parametrize(("change", "why"), FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forgery_is_told_from_what_is_genuine(
    change: Change, why: str, keys: dict[str, bytes]
) -> None:
    record = copy.deepcopy(record_of(PAYMENT))
    change(record)
    found = verify(record, keys)
    assert found is not None
    assert why in found


MALFORMED: dict[str, Change] = {
    "both": lambda r: r.update(group={}),
    "neither": lambda r: r.pop("payment"),
    "no authorization": lambda r: r.pop("authorization"),
    "a field less": lambda r: r["payment"].pop("client"),
    "a field more": lambda r: r["payment"].update(more=1),
    "a fraction": lambda r: r["payment"].update(amount=1.5),
    "a truth": lambda r: r["payment"].update(amount=True),
    "no text": lambda r: r["payment"].update(client=1),
    "half a character": lambda r: r["payment"].update(client="\ud800"),
    "no digits": lambda r: r["authorization"].update(digest="no"),
    "an unknown method": lambda r: r["authorization"].update(method="VOICE"),
}


@pytest.mark.parametrize("change", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_malformed_is_unreadable(change: Change, keys: dict[str, bytes]) -> None:
    record = copy.deepcopy(record_of(PAYMENT))
    change(record)
    with pytest.raises(UnreadableError):
        verify(record, keys)


def test_the_exit_code_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published, stored = tmp_path / "keys.json", tmp_path / "authorization.json"
    published.write_text(KEYS_FILE)
    stored.write_text(json.dumps(record_of(GROUP)))
    arguments = ["--keys", str(published), str(stored)]
    assert main(arguments) == 0
    stored.write_text(json.dumps(record_of(PAYMENT)).replace("125000", "125001"))
    assert main(arguments) == 1
    assert "NOT genuine" in capsys.readouterr().out
    for content in (b"", b"[]", b"\xff", b"[" * 100_000):
        stored.write_bytes(content)
        assert main(arguments) == 2
    assert main(["--keys", str(tmp_path / "none"), str(stored)]) == 2


def test_it_needs_no_service_and_no_database() -> None:
    code = (
        "import sys, operations.verify_authorization\n"
        "ours = {'signing_service', 'command_service', 'database', 'asyncpg', 'grpc', 'google'}\n"
        "sys.exit(bool(ours & {name.split('.')[0] for name in sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
