"""`paycore risk rules`: by what payments are judged before they are posted."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from operations.cli import options
from operations.cli.accounts import amount
from operations.cli.output import Output, run
from operations.cli.policy_change import OPERATOR, Currency, Reason, Revision, change_policy
from operations.deployment import find_deployment
from operations.money import format_money
from paycore.client import PaycoreClient
from paycore.client.policy_model import PolicyReceipt, RiskRule
from paycore.domain.transfers import RiskDecision

app = typer.Typer(help="Set by what payments are judged.", no_args_is_help=True)
rules = typer.Typer(help="Set the rules of risk.", no_args_is_help=True)
app.add_typer(rules, name="rules")

_DECLINE = "Decline what is above it; else it is held for review."


@rules.command("list", epilog="Example: paycore risk rules list --json")
def list_rules(
    state: options.State = None,
    identity: options.Identity = OPERATOR,
    as_json: options.AsJson = False,
) -> None:
    """Show the rules of all currencies."""
    output = Output(as_json=as_json)

    async def work() -> tuple[RiskRule, ...]:
        async with find_deployment(state, identity).client() as client:
            return await client.list_risk_rules()

    found = run(output, work)
    output.show(_table(found) if found else "no currency has rules", found)


@rules.command(
    "set",
    epilog="Example: paycore risk rules set EUR --daily 10000.00 --new-payee 500.00"
    " --decline-daily --reason 'agreed today'",
)
def set_rules(
    currency: Currency,
    reason: Reason,
    daily: Annotated[
        str | None, typer.Option(help="What may leave an account in a day of UTC; a decimal.")
    ] = None,
    new_payee: Annotated[
        str | None, typer.Option(help="What a payee may get who was not paid before.")
    ] = None,
    decline_daily: Annotated[bool, typer.Option("--decline-daily", help=_DECLINE)] = False,
    decline_new_payee: Annotated[bool, typer.Option("--decline-new-payee", help=_DECLINE)] = False,
    revision: Revision = None,
    key: options.Key = None,
    state: options.State = None,
    identity: options.Identity = OPERATOR,
    as_json: options.AsJson = False,
) -> None:
    """Set all of a currency's rules."""

    async def change(client: PaycoreClient) -> PolicyReceipt:
        rule = RiskRule(
            currency,
            None if daily is None else amount(daily, currency),
            RiskDecision.DECLINE if decline_daily else RiskDecision.REVIEW,
            None if new_payee is None else amount(new_payee, currency),
            RiskDecision.DECLINE if decline_new_payee else RiskDecision.REVIEW,
        )
        return await client.set_risk_rule(
            rule, reason, expected_revision=revision, idempotency_key=key
        )

    change_policy(change, state, identity, as_json=as_json)


@rules.command("remove", epilog="Example: paycore risk rules remove EUR --reason 'no longer'")
def remove_rules(
    currency: Currency,
    reason: Reason,
    revision: Revision = None,
    key: options.Key = None,
    state: options.State = None,
    identity: options.Identity = OPERATOR,
    as_json: options.AsJson = False,
) -> None:
    """Have no rules for a currency: its payments are judged by none."""
    change_policy(
        lambda client: client.remove_risk_rule(
            currency, reason, expected_revision=revision, idempotency_key=key
        ),
        state,
        identity,
        as_json=as_json,
    )


def _table(found: tuple[RiskRule, ...]) -> Table:
    table = Table("currency", "a day", "above it", "new payee", "above it", "revision")
    for one in found:
        table.add_row(
            one.currency,
            *_shown(one.daily_limit, one.daily_decision, one.currency),
            *_shown(one.new_payee_above, one.new_payee_decision, one.currency),
            str(one.revision),
        )
    return table


def _shown(above: int | None, decision: RiskDecision, currency: str) -> tuple[str, str]:
    if above is None:
        return "-", "-"
    return format_money(above, currency), decision.value.lower()
