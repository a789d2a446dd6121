"""`paycore erase`: forget a person, and keep the ledger whole."""

from __future__ import annotations

from typing import Annotated

import typer

from operations.cli import options
from operations.cli.output import Output, run
from operations.deployment import find_deployment
from operations.views.as_is import in_markup
from paycore.client import Erasure


def erase(
    subject: Annotated[str, typer.Argument(help="Id of the user: an owner, or one who acted.")],
    reason: Annotated[str, typer.Option(help="For the audit; no personal data.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
    state: options.State = None,
    identity: options.Identity = "operator",
    as_json: options.AsJson = False,
) -> None:
    """Destroy the keys of a user's personal data, for ever. Transfers, sums and proofs stay."""
    output = Output(as_json=as_json)
    if not yes:
        typer.confirm(f"Erase what is personal of {subject}, for ever?", abort=True, err=True)

    async def work() -> Erasure:
        async with find_deployment(state, identity).client() as client:
            return await client.erase_subject(subject, reason)

    erasure = run(output, work)
    output.show(
        f"[green]✓[/] {in_markup(subject)} is erased since "
        f"{erasure.erased_at:%Y-%m-%d %H:%M:%S} UTC: "
        f"{erasure.destroyed_keys} keys destroyed, {erasure.cleared_accounts} accounts cleared; "
        "the index follows within seconds",
        erasure,
    )
