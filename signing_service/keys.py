"""`python -m signing_service.keys`: list, rotate and publish the keys of the signing service.

Told by the same variables PAYCORE_SIGNING_KEYSTORE... as the service. Nothing here shows a secret,
and nothing removes a key. docs/runbooks/signing_keys.md says when to do what.
"""

from __future__ import annotations

import asyncio
import datetime
import getpass
import os
import socket
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import typer
from google.protobuf.json_format import MessageToJson
from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

import database
from paycore.runtime.clock import SystemClock
from paycore.signing.v1 import signing_service_pb2 as pb
from signing_service import messages
from signing_service.acting import Acting
from signing_service.key_watch import know_keys
from signing_service.keystore import opening
from signing_service.keystore.port import KeyEntry, KeyPurpose, KeystoreError
from signing_service.settings import KeystoreSettings

DEFAULT_DELAY_MIN = 60
"""Until a new key is used: long enough to start every signing process again, one after another."""

CONNECT_WITHIN_S = 5.0

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.command("list")
def list_keys() -> None:
    """Every key: id, purpose, from when it is in use, and whether it is the one in use now."""
    with closing(opening.open_existing(KeystoreSettings())) as keystore:
        for entry in keystore.inventory():
            typer.echo(_line(entry))


@app.command()
def rotate(
    purpose: Annotated[KeyPurpose, typer.Argument(case_sensitive=False)],
    minutes: Annotated[
        int, typer.Option("--in", min=0, max=60 * 24 * 30, help="Minutes until it is used.")
    ] = DEFAULT_DELAY_MIN,
) -> None:
    """Add a key, used some minutes from now; start every signing process again before that."""
    now_us = _now_us()
    entry = opening.rotate(KeystoreSettings(), purpose, now_us, now_us + minutes * 60 * 1_000_000)
    typer.echo(_line(entry))
    dsn = _TrailSettings().postgres_dsn
    if dsn is None:
        _untold("PAYCORE_SIGNING_POSTGRES_DSN is not set")
        return
    try:
        asyncio.run(_tell(dsn.get_secret_value(), entry))
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        _untold(f"{type(error).__name__}: {error}")


@app.command()
def publish(
    file: Annotated[Path, typer.Argument(help="Written whole, or not at all.")],
) -> None:
    """Write the public keys, as GetPublicKeys answers, in JSON: what verifiers need."""
    with closing(opening.open_existing(KeystoreSettings())) as keystore:
        reply = pb.GetPublicKeysResponse(
            keys=[messages.key_message(key) for key in keystore.public_keys()]
        )
    unfinished = file.with_name(f".{file.name}.unfinished")
    unfinished.write_text(MessageToJson(reply) + "\n", encoding="utf-8")
    unfinished.replace(file)
    typer.echo(f"{len(reply.keys)} keys in {file}")


def main() -> int:
    """Run one command; the exit code."""
    try:
        app(standalone_mode=False)
    except typer.Exit as done:
        return done.exit_code
    except ValidationError as error:
        wrong = ", ".join(f"{fault['msg']}" for fault in error.errors())
        typer.echo(f"the settings PAYCORE_SIGNING_* are not complete: {wrong}", err=True)
    except (KeystoreError, OSError) as error:
        typer.echo(f"{error}", err=True)
    except typer.Abort:
        typer.echo("stopped", err=True)
    except typer.BadParameter as error:
        typer.echo(error.format_message(), err=True)
    else:
        return 0
    return 1


class _TrailSettings(BaseSettings):
    """Where the trail is: the service's own variable."""

    model_config = SettingsConfigDict(env_prefix="PAYCORE_SIGNING_", extra="ignore")

    postgres_dsn: SecretStr | None = None


async def _tell(dsn: str, entry: KeyEntry) -> None:
    """Have the trail say who added the key. Raises what asyncpg raises, OSError, TimeoutError."""
    queries: Any = database.load("signing")
    connection = await asyncpg.connect(dsn, timeout=CONNECT_WITHIN_S)
    try:
        async with connection.transaction():
            await queries.act_as(connection, **_operator()._asdict())
            await know_keys(queries, connection, [entry])
    finally:
        await connection.close(timeout=CONNECT_WITHIN_S)


def _operator() -> Acting:
    """Whom the system says runs this."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return Acting(f"{user}@{socket.gethostname()}"[:128], "", "", "", "by command line")


def _untold(why: str) -> None:
    typer.echo(
        f"the trail does not say who did this ({why}); the next process that starts tells of the"
        " key",
        err=True,
    )


def _line(entry: KeyEntry) -> str:
    moment = datetime.datetime.fromtimestamp(entry.active_from_us / 1_000_000, datetime.UTC)
    state = "in use" if entry.current else ""
    line = f"{entry.key_id:<34} {entry.purpose.value:<14} {moment:%Y-%m-%dT%H:%M:%SZ} {state}"
    return line.rstrip()


def _now_us() -> int:
    return SystemClock().now_us()


if __name__ == "__main__":
    sys.exit(main())
