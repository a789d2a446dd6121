"""`python -m operations.seal`: seal the personal data that was stored plain."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import asyncpg
import typer

from operations.seal.job import Done, seal_plain
from paycore.domain.errors import PaycoreError
from paycore.runtime.channel import open_channel
from paycore.runtime.clock import SystemClock
from paycore.runtime.data_keys import DataKeys
from paycore.runtime.tls import TlsFiles

app = typer.Typer(help="Seal the personal data that was stored plain.")


@app.command()
def seal(
    dsn: Annotated[str, typer.Option(help="DSN of paycore_owner.", envvar="PAYCORE_SEAL_DSN")],
    signing_target: Annotated[str, typer.Option(help="host:port of the signing service.")],
    tls_certificate: Annotated[Path, typer.Option(help="The command service's, who makes keys.")],
    tls_key: Annotated[Path, typer.Option(help="The key of that certificate.")],
    tls_ca: Annotated[Path, typer.Option(help="The authority to trust.")],
) -> None:
    """Seal row after row; safe to repeat. Run it once no process of the release before writes."""
    try:
        done = asyncio.run(_run(dsn, signing_target, TlsFiles(tls_certificate, tls_key, tls_ca)))
    except (PaycoreError, OSError, asyncpg.PostgresError) as error:
        typer.echo(f"not all is sealed: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"sealed {done.sealed} rows")
    if done.strays:
        typer.echo(f"left {done.strays} rows that belong to nothing", err=True)
        raise typer.Exit(1)


async def _run(dsn: str, target: str, tls: TlsFiles) -> Done:
    connection = await asyncpg.connect(dsn)
    try:
        async with open_channel(target, tls, service="signing") as channel:
            return await seal_plain(connection, DataKeys(channel, SystemClock()))
    finally:
        await connection.close()


if __name__ == "__main__":
    app()
