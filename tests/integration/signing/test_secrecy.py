"""A PIN appears in no table, log, error or reply: searched for by canaries."""

from __future__ import annotations

import logging
import traceback

import asyncpg
import pytest
from argon2.exceptions import VerificationError
from structlog.testing import capture_logs

from deploy.local import LocalStack
from paycore.domain.errors import PaycoreError, Reason
from paycore.domain.pin import Pin
from tests.integration.signing.signer import Signer, payment

CANARY = Pin("739182640517")
GUESS = Pin("640517739182")


def traces(pin: Pin) -> set[str]:
    """The forms in which `pin` might have been written."""
    digits = pin.reveal()
    return {digits, digits.encode().hex(), digits[::-1]}


def assert_clean(text: str) -> None:
    for pin in (CANARY, GUESS):
        for trace in traces(pin):
            assert trace not in text


async def everything(owner: asyncpg.Connection) -> str:
    """All rows of all tables that any service has, as text."""
    tables = await owner.fetch(
        "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
        " WHERE schemaname IN ('signing', 'ledger', 'projection')"
    )
    rows = [
        row["line"]
        for table in tables
        for row in await owner.fetch(f"SELECT t::text AS line FROM {table['name']} AS t")
    ]
    return "\n".join(rows)


async def test_a_pin_leaves_no_trace(
    signer: Signer,
    owner: asyncpg.Connection,
    stack: LocalStack,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    errors: list[PaycoreError] = []
    with capture_logs() as logged:
        await signer.enrol("user-1", CANARY)
        question = signer.question("user-1", CANARY, payment())
        authorization = await signer.ask(question)
        for refused in (
            signer.question("user-1", GUESS, payment()),
            question._replace(intent=payment()),
            question._replace(user_id="user-2"),
        ):
            errors.append(await signer.refusal(refused))
        with pytest.raises(PaycoreError) as already:
            await signer.enrol("user-1", GUESS)
        errors.append(already.value)
    assert {error.reason for error in errors} == {
        Reason.PIN_INCORRECT,
        Reason.AUTHORIZATION_INVALID,
        Reason.PIN_ALREADY_ENROLLED,
    }
    for error in errors:
        assert_clean("".join(traceback.format_exception(error)))
        assert_clean(f"{error!r} {error.metadata} {error.violations}")
    assert_clean(repr(question) + repr(authorization) + repr(signer))

    rows = await everything(owner)
    assert "user-1" in rows
    assert_clean(rows)
    written = capsys.readouterr()
    assert_clean(f"{logged}" + written.out + written.err + caplog.text)
    server_log = stack.endpoints.state / "logs" / "postgres.log"
    assert server_log.stat().st_size > 0
    assert_clean(server_log.read_text(errors="replace"))


async def test_a_fault_inside_the_check_shows_no_pin(
    signer: Signer, owner: asyncpg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    await signer.enrol("user-1", CANARY)
    await owner.execute("UPDATE signing.pins SET encoded_hash = '$argon2id$damaged'")
    with pytest.raises(VerificationError) as raised:
        await signer.pay("user-1", CANARY)
    assert_clean("".join(traceback.format_exception(raised.value)))
    written = capsys.readouterr()
    assert_clean(written.out + written.err)
