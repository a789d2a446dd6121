"""`python -m signing_service.keys`: list, rotate and publish the keys of the signing service.

Told by the same variables PAYCORE_SIGNING_KEYSTORE... as the service. Nothing here shows a secret,
and nothing removes a key. docs/runbooks/signing_keys.md says when to do what.
"""

from __future__ import annotations

import datetime
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToJson
from pydantic import ValidationError

from paycore.runtime.clock import SystemClock
from paycore.signing.v1 import signing_service_pb2 as pb
from signing_service import messages
from signing_service.keystore import opening
from signing_service.keystore.port import KeyEntry, KeyPurpose, KeystoreError
from signing_service.settings import KeystoreSettings

DEFAULT_DELAY_MIN = 60
"""Until a new key is used: long enough to start every signing process again, one after another."""

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


def _line(entry: KeyEntry) -> str:
    moment = datetime.datetime.fromtimestamp(entry.active_from_us / 1_000_000, datetime.UTC)
    state = "in use" if entry.current else ""
    line = f"{entry.key_id:<34} {entry.purpose.value:<14} {moment:%Y-%m-%dT%H:%M:%SZ} {state}"
    return line.rstrip()


def _now_us() -> int:
    return SystemClock().now_us()


if __name__ == "__main__":
    sys.exit(main())
