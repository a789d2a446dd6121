"""What the commands that change policy have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from operations.cli import options
from operations.cli.output import Output, run
from operations.deployment import find_deployment
from paycore.client import PaycoreClient
from paycore.client.policy_model import PolicyReceipt

OPERATOR = "operator"

Currency = Annotated[str, typer.Argument(help="ISO 4217 code, such as EUR.")]
Reason = Annotated[str, typer.Option(help="Why, 1 to 256 characters; kept in the audit.")]
Revision = Annotated[
    int | None,
    typer.Option("--revision", help="Only if it stands at this one; 0 for none in force."),
]


def change_policy(
    change: Callable[[PaycoreClient], Awaitable[PolicyReceipt]],
    state: options.State,
    identity: str,
    *,
    as_json: bool,
    as_plain: Callable[[PolicyReceipt], object] = lambda receipt: receipt,
) -> None:
    """Make a change and say what came of it; as JSON in the form that `as_plain` gives it."""
    output = Output(as_json=as_json)

    async def work() -> PolicyReceipt:
        async with find_deployment(state, identity).client() as client:
            return await change(client)

    receipt = run(output, work)
    said = "changed" if receipt.changed else "nothing to change"
    if receipt.policy is not None:
        said += f": {receipt.policy.currency} stands at revision {receipt.policy.revision}"
    if receipt.risk_rule is not None:
        said += f": {receipt.risk_rule.currency} stands at revision {receipt.risk_rule.revision}"
    if receipt.limit is not None:
        said += f": the limit stands at revision {receipt.limit.revision}"
    output.show(said, as_plain(receipt))
