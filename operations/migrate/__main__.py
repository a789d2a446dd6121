"""`python -m operations.migrate`: prepare a database for paycore."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import psycopg
import typer

from operations.migrate import bootstrap as steps
from operations.migrate.local_seed import seed_local
from operations.migrate.old_events import KEEP_MONTHS, drop_events
from operations.migrate.partitions import MONTHS_AHEAD, add_partitions, covered_until

app = typer.Typer(help="Prepare a database for paycore.", no_args_is_help=True)


@app.command()
def bootstrap(
    admin_dsn: Annotated[str, typer.Option(help="DSN of a superuser of the server.")],
    passwords: Annotated[
        Path, typer.Option(help="JSON file: an object from role name to password.", exists=True)
    ],
    database: Annotated[str, typer.Option(help="Database to create or bring up to date.")] = (
        "paycore"
    ),
    to: Annotated[
        str,
        typer.Option(
            help="Last migration to run: those after it want the processes replaced first."
        ),
    ] = steps.LATEST,
) -> None:
    """Create roles and database where missing and run the migrations. Safe to repeat."""
    try:
        steps.bootstrap(admin_dsn, database, json.loads(passwords.read_text(encoding="utf-8")), to)
    except psycopg.Error as error:
        typer.echo(f"bootstrap failed: {error}", err=True)
        raise typer.Exit(1) from error


@app.command()
def partitions(
    dsn: Annotated[str, typer.Option(help="DSN of paycore_owner on the database.")],
    months_ahead: Annotated[
        int, typer.Option(min=1, max=120, help="Months to cover beside the present one.")
    ] = MONTHS_AHEAD,
) -> None:
    """Make the partitions that transfers will need, one for each month that has none yet.

    Prints the months added and until when transfers are covered: what is posted later is refused.
    Run it every day; safe to repeat, from several places, and beside payments.
    """
    try:
        for month in add_partitions(dsn, months_ahead):
            typer.echo(f"added {month:%Y-%m}")
        typer.echo(f"covered until {covered_until(dsn):%Y-%m-%d}")
    except psycopg.Error as error:
        typer.echo(f"partitions failed: {error}", err=True)
        raise typer.Exit(1) from error


@app.command(name="drop-events")
def drop(
    dsn: Annotated[str, typer.Option(help="DSN of paycore_owner on the database.")],
    keep_months: Annotated[
        int, typer.Option(min=3, max=240, help="Months, of 31 days, to keep.")
    ] = KEEP_MONTHS,
) -> None:
    """Drop security events that are older than that, and leave one that says how many.

    Run it every month; safe to repeat. The changes of accounts, grants and policies stay.
    """
    try:
        dropped = drop_events(dsn, keep_months)
    except psycopg.Error as error:
        typer.echo(f"dropping failed: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"dropped {dropped.services} of services, {dropped.signing} of signing")


@app.command(name="seed-local")
def seed(
    dsn: Annotated[str, typer.Option(help="DSN of paycore_owner on the database.")],
) -> None:
    """Write the grants and step-up thresholds of the local stack's callers. Safe to repeat."""
    try:
        seed_local(dsn)
    except psycopg.Error as error:
        typer.echo(f"seeding failed: {error}", err=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    app()
