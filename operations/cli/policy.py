"""`paycore policy` and `paycore grants`: when payers must approve, and what clients may do."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from operations.cli import options
from operations.cli.accounts import amount
from operations.cli.output import Output, run
from operations.cli.policy_change import OPERATOR, Currency, Reason, Revision, change_policy
from operations.deployment import find_deployment
from operations.errors import UsageError
from operations.money import format_money
from operations.views.as_is import as_is
from paycore.client import PaycoreClient
from paycore.client.policy_model import Grant, PolicyReceipt, StepUpPolicy
from paycore.domain.grants import CONCERNS_NO_ACCOUNT, GrantAction, GrantScope

policies = typer.Typer(help="Set above which amounts payers must approve.", no_args_is_help=True)
grants = typer.Typer(help="Set what clients may do.", no_args_is_help=True)

Client = Annotated[str, typer.Argument(help="Name in the client's certificate.")]
Right = Annotated[
    str, typer.Argument(metavar="ACTION", help="Such as TRANSFER, or scheme:NAME to link names.")
]
Scope = Annotated[GrantScope | None, typer.Option(case_sensitive=False, help="Not with a scheme.")]
Institution = Annotated[str, typer.Option(help="With scope INSTITUTION.")]


@policies.command("list", epilog="Example: paycore policy list --json")
def list_policies(
    state: options.State = None,
    identity: options.Identity = OPERATOR,
    as_json: options.AsJson = False,
) -> None:
    """Show the policies of all currencies."""
    output = Output(as_json=as_json)

    async def work() -> tuple[StepUpPolicy, ...]:
        async with find_deployment(state, identity).client() as client:
            return await client.list_step_up_policies()

    found = run(output, work)
    output.show(_policies(found) if found else "no currency has a policy", found)


@policies.command(
    "set",
    epilog="Example: paycore policy set EUR 1000.00 --first 100.00 --daily 2500.00"
    " --reason 'agreed today'",
)
def set_policy(
    currency: Currency,
    threshold: Annotated[str, typer.Argument(help="Above it a payment needs approval; a decimal.")],
    reason: Reason,
    first: Annotated[
        str | None, typer.Option(help="The same for a payee that was not paid before.")
    ] = None,
    daily: Annotated[
        str | None, typer.Option(help="What an account may pay a day without approval.")
    ] = None,
    revision: Revision = None,
    key: options.Key = None,
    state: options.State = None,
    identity: options.Identity = OPERATOR,
    as_json: options.AsJson = False,
) -> None:
    """Set all of a currency's policy."""

    async def change(client: PaycoreClient) -> PolicyReceipt:
        policy = StepUpPolicy(
            currency,
            amount(threshold, currency),
            None if first is None else amount(first, currency),
            None if daily is None else amount(daily, currency),
        )
        return await client.set_step_up_policy(
            policy, reason, expected_revision=revision, idempotency_key=key
        )

    change_policy(change, state, identity, as_json=as_json)


@policies.command("remove", epilog="Example: paycore policy remove EUR --reason 'under review'")
def remove_policy(
    currency: Currency,
    reason: Reason,
    revision: Revision = None,
    key: options.Key = None,
    state: options.State = None,
    identity: options.Identity = OPERATOR,
    as_json: options.AsJson = False,
) -> None:
    """Have no policy for a currency: every payment needs approval."""
    change_policy(
        lambda client: client.remove_step_up_policy(
            currency, reason, expected_revision=revision, idempotency_key=key
        ),
        state,
        identity,
        as_json=as_json,
    )


@grants.command("list", epilog="Example: paycore grants list --client payroll")
def list_grants(
    client_name: Annotated[str, typer.Option("--client", help="Only this client's.")] = "",
    state: options.State = None,
    identity: options.Identity = OPERATOR,
    as_json: options.AsJson = False,
) -> None:
    """Show what clients may do."""
    output = Output(as_json=as_json)

    async def work() -> list[Grant]:
        async with find_deployment(state, identity).client() as client:
            return [grant async for grant in client.list_grants(client_name)]

    found = run(output, work)
    output.show(_grants(found) if found else "there are no grants", found)


@grants.command(
    epilog="Examples: paycore grants give payroll STEP_UP_EXEMPT --scope own --reason 'payroll'  |"
    "  paycore grants give app scheme:iban --reason 'links accounts'"
)
def give(
    client_name: Client,
    right: Right,
    reason: Reason,
    scope: Scope = None,
    institution: Institution = "",
    key: options.Key = None,
    state: options.State = None,
    identity: options.Identity = OPERATOR,
    as_json: options.AsJson = False,
) -> None:
    """Let a client do something."""
    change_policy(
        lambda client: client.give_grant(
            _given(client_name, right, scope, institution), reason, idempotency_key=key
        ),
        state,
        identity,
        as_json=as_json,
    )


@grants.command(
    epilog="Example: paycore grants take payroll STEP_UP_EXEMPT --scope own --reason 'ended'"
)
def take(
    client_name: Client,
    right: Right,
    reason: Reason,
    scope: Scope = None,
    institution: Institution = "",
    key: options.Key = None,
    state: options.State = None,
    identity: options.Identity = OPERATOR,
    as_json: options.AsJson = False,
) -> None:
    """Have a client do something no more."""
    change_policy(
        lambda client: client.take_grant(
            _grant(client_name, right, scope, institution), reason, idempotency_key=key
        ),
        state,
        identity,
        as_json=as_json,
    )


def _grant(client: str, right: str, scope: GrantScope | None, institution: str) -> Grant:
    kind, _, scheme = right.partition(":")
    if kind == "scheme" and scheme:
        if scope is not None or institution:
            raise UsageError("a scheme has neither scope nor institution")
        return Grant(client, scheme=scheme)
    try:
        action = GrantAction(right.upper())
    except ValueError:
        raise UsageError(f"{right!r} is none of {', '.join(GrantAction)}, scheme:NAME") from None
    if scope is None:
        raise UsageError("name a --scope: own, institution or all")
    return Grant(client, action, scope, institution)


def _given(client: str, right: str, scope: GrantScope | None, institution: str) -> Grant:
    grant = _grant(client, right, scope, institution)
    if grant.action in CONCERNS_NO_ACCOUNT and grant.scope is not GrantScope.ALL:
        raise UsageError(f"{grant.action} concerns no account: give it with --scope all")
    return grant


def _policies(found: tuple[StepUpPolicy, ...]) -> Table:
    table = Table("currency", "above", "first payment above", "a day", "revision")
    for one in found:
        amounts = (one.threshold, one.first_payment_threshold, one.daily_total)
        shown = ("-" if cents is None else format_money(cents, one.currency) for cents in amounts)
        table.add_row(one.currency, *shown, str(one.revision))
    return table


def _grants(found: list[Grant]) -> Table:
    table = Table("client", "may", "on accounts")
    for one in found:
        may = f"link {one.scheme}:" if one.scheme else str(one.action)
        where = "" if one.scope is None else str(one.scope)
        table.add_row(as_is(one.client), may, as_is(f"{where} {one.institution}".strip()))
    return table
