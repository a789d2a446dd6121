"""`python -m operations.seal`: seal the personal data that was stored plain."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import asyncpg
import typer

from operations.seal.audit import seal_audit
from operations.seal.events import seal_events
from operations.seal.job import Done, seal_plain
from paycore.domain.errors import PaycoreError
from paycore.runtime.channel import open_channel
from paycore.runtime.clock import SystemClock
from paycore.runtime.data_keys import DataKeys
from paycore.runtime.settings import read_key
from paycore.runtime.tls import TlsFiles
from paycore.runtime.traces import Tracer

app = typer.Typer(help="Seal the personal data that was stored plain.")


@app.command()
def seal(
    dsn: Annotated[str, typer.Option(help="DSN of paycore_owner.", envvar="PAYCORE_SEAL_DSN")],
    signing_target: Annotated[str, typer.Option(help="host:port of the signing service.")],
    tls_certificate: Annotated[Path, typer.Option(help="The command service's, who makes keys.")],
    tls_key: Annotated[Path, typer.Option(help="The key of that certificate.")],
    tls_ca: Annotated[Path, typer.Option(help="The authority to trust.")],
    trail_key: Annotated[
        Path, typer.Option(help="The file at PAYCORE_COMMAND_TRAIL_KEY_FILE.", exists=True)
    ],
) -> None:
    """Seal row after row; safe to repeat. Run it once no process of the release before writes."""
    try:
        tls = TlsFiles(tls_certificate, tls_key, tls_ca)
        done, events, audit = asyncio.run(_run(dsn, signing_target, tls, read_key(trail_key)))
    except (PaycoreError, OSError, ValueError, asyncpg.PostgresError) as error:
        typer.echo(f"not all is sealed: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"sealed {done.sealed} rows, {events} security events and {audit} audit rows")
    if done.strays:
        typer.echo(f"left {done.strays} rows that belong to nothing", err=True)
        raise typer.Exit(1)


async def _run(dsn: str, target: str, tls: TlsFiles, secret: bytes) -> tuple[Done, int, int]:
    connection = await asyncpg.connect(dsn)
    try:
        async with open_channel(target, tls, service="signing") as channel:
            keys = DataKeys(channel, SystemClock())
            done = await seal_plain(connection, keys)
            tracer = Tracer(secret, keys)
            return done, await seal_events(connection, tracer), await seal_audit(connection, tracer)
    finally:
        await connection.close()


if __name__ == "__main__":
    app()
