"""`paycore review` and `paycore reversals`: what waits for an operator."""

from __future__ import annotations

from typing import Annotated

import typer

from operations import desk
from operations.cli import options
from operations.cli.movements import post
from operations.cli.output import Output, run
from operations.deployment import find_deployment
from operations.views.desk import reversals_table, reviews_table

OPERATOR = "operator"

reviews = typer.Typer(help="Settle payments that are held for review.", no_args_is_help=True)
reversals = typer.Typer(help="List reversals that found too little money.", no_args_is_help=True)

Limit = Annotated[int, typer.Option(min=1, max=10_000, help="Show at most so many, the oldest.")]
Payment = Annotated[int, typer.Argument(metavar="PAYMENT", help="Id of the payment that is held.")]
Reason = Annotated[str, typer.Option(help="Why, 1 to 256 characters; kept with what is done.")]


@reviews.command("list", epilog="Example: paycore review list --limit 20 --json")
def list_reviews(
    limit: Limit = 100,
    state: options.State = None,
    identity: options.Identity = OPERATOR,
    as_json: options.AsJson = False,
) -> None:
    """Show the payments that wait for a review, the oldest first."""
    output = Output(as_json=as_json)
    found = run(output, lambda: desk.waiting_reviews(find_deployment(state, identity), limit))
    output.show(reviews_table(found) if found else "nothing waits for a review", found)


@reviews.command(epilog="Example: paycore review approve 7041 --reason 'payee called back'")
def approve(
    payment: Payment,
    reason: Reason,
    key: options.Key = None,
    state: options.State = None,
    identity: options.Identity = OPERATOR,
    as_json: options.AsJson = False,
) -> None:
    """Let a payment go on: what is held of it moves to the payee."""
    post(
        lambda client: client.approve_review(payment, reason, idempotency_key=key),
        state,
        identity,
        as_json=as_json,
    )


@reviews.command(epilog="Example: paycore review refuse 7041 --reason 'payee is not who it says'")
def refuse(
    payment: Payment,
    reason: Reason,
    key: options.Key = None,
    state: options.State = None,
    identity: options.Identity = OPERATOR,
    as_json: options.AsJson = False,
) -> None:
    """Roll a payment back: what is held of it is free again."""
    post(
        lambda client: client.refuse_review(payment, reason, idempotency_key=key),
        state,
        identity,
        as_json=as_json,
    )


@reversals.command("list", epilog="Example: paycore reversals list --json")
def list_reversals(
    limit: Limit = 100,
    state: options.State = None,
    identity: options.Identity = OPERATOR,
    as_json: options.AsJson = False,
) -> None:
    """Show transfers whose reversal was refused, since it would have broken a floor.

    Raise the overdraft limit of the account that must pay, or wait until it has enough; then repeat
    the reversal under a new key.
    """
    output = Output(as_json=as_json)
    found = run(output, lambda: desk.short_reversals(find_deployment(state, identity), limit))
    output.show(reversals_table(found) if found else "no reversal waits for money", found)
