"""`paycore webhooks`: who is told of events, and what became of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, TypeVar

import typer

from operations.cli import options
from operations.cli.output import Output, run
from operations.deployment import find_deployment
from operations.errors import UsageError
from operations.views.webhooks import deliveries_table, subscriptions_table
from paycore.client import PaycoreClient
from paycore.client.webhook_model import (
    Delivery,
    DeliveryQuery,
    NewSubscription,
    ReplayReceipt,
    SecretReceipt,
    Subscription,
    SubscriptionReceipt,
)
from paycore.domain.webhooks import ALL_EVENTS, DeliveryState

app = typer.Typer(help="Be told of events over HTTPS.", no_args_is_help=True)

Which = Annotated[int, typer.Argument(help="Id of the subscription.")]
Reason = Annotated[str, typer.Option(help="Why, for the audit; no personal data.")]

Answer = TypeVar("Answer")


@app.command("create", epilog="Example: paycore webhooks create https://shop.example/hook")
def create(
    url: Annotated[str, typer.Argument(help="Where to; https.")],
    event: Annotated[
        list[str] | None, typer.Option(help="Type of event; again for more. All where none is.")
    ] = None,
    account: Annotated[
        list[int] | None, typer.Option(help="Account; again for more. All that may be read.")
    ] = None,
    description: Annotated[str, typer.Option(help="For people.")] = "",
    reason: Reason = "",
    key: options.Key = None,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Be told of events from now on; shows the secret that signs them, this once."""
    wanted = NewSubscription(
        url, tuple(event or (ALL_EVENTS,)), tuple(account or ()), description, key
    )
    output, receipt = _asked(
        lambda client: client.create_subscription(wanted, reason), state, identity, as_json=as_json
    )
    secret = "" if receipt.secret is None else receipt.secret.text
    output.show(
        f"subscription {receipt.subscription.id}; its secret, shown this once: "
        f"{secret or '(ended)'}",
        {**_plain(receipt), "secret": secret},
    )


@app.command("list", epilog="Example: paycore webhooks list --client app --as operator")
def list_subscriptions(
    client_name: Annotated[str, typer.Option("--client", help="Whose; else one's own.")] = "",
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Show subscriptions, without secrets."""

    async def work(client: PaycoreClient) -> list[Subscription]:
        return [one async for one in client.list_subscriptions(client_name)]

    output, found = _asked(work, state, identity, as_json=as_json)
    output.show(
        subscriptions_table(found) if found else "no subscriptions", [asdict(one) for one in found]
    )


@app.command("disable", epilog="Example: paycore webhooks disable 7041 --reason 'moved'")
def disable(
    which: Which,
    reason: Reason = "",
    key: options.Key = None,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Be told of nothing any more; what is due waits."""
    output, receipt = _asked(
        lambda client: client.disable_subscription(which, reason, idempotency_key=key),
        state,
        identity,
        as_json=as_json,
    )
    output.show("disabled" if receipt.changed else "nothing to change", _plain(receipt))


@app.command("enable", epilog="Example: paycore webhooks enable 7041 --reason 'there again'")
def enable(
    which: Which,
    reason: Reason = "",
    key: options.Key = None,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Be told again of events from now on; what was due goes on."""
    output, receipt = _asked(
        lambda client: client.enable_subscription(which, reason, idempotency_key=key),
        state,
        identity,
        as_json=as_json,
    )
    output.show("enabled" if receipt.changed else "nothing to change", _plain(receipt))


@app.command("rotate", epilog="Example: paycore webhooks rotate 7041 --overlap 3600")
def rotate(
    which: Which,
    overlap: Annotated[
        int | None,
        typer.Option(help="Seconds for which the secrets of before sign too; a day by default."),
    ] = None,
    reason: Reason = "",
    key: options.Key = None,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Sign with a new secret, which is shown this once."""
    output, receipt = _asked(
        lambda client: client.rotate_secret(which, reason, overlap_s=overlap, idempotency_key=key),
        state,
        identity,
        as_json=as_json,
    )
    secret = "" if receipt.secret is None else receipt.secret.text
    output.show(
        f"the new secret, shown this once: {secret or '(ended)'}",
        {**_plain(receipt), "secret": secret},
    )


@app.command("deliveries", epilog="Example: paycore webhooks deliveries 7041 --in dead")
def deliveries(
    which: Which,
    in_state: Annotated[
        DeliveryState | None, typer.Option("--in", help="State.", case_sensitive=False)
    ] = None,
    event: Annotated[str, typer.Option(help="Type of event.")] = "",
    event_id: Annotated[str, typer.Option(help="Id of an event, alone.")] = "",
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=10_000)] = 50,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Show what was sent, the newest first, and how the attempts went."""
    wanted = DeliveryQuery(which, in_state, event, event_id)

    async def work(client: PaycoreClient) -> list[Delivery]:
        found: list[Delivery] = []
        async for one in client.list_deliveries(wanted):
            found.append(one)
            if len(found) == limit:
                break
        return found

    output, found = _asked(work, state, identity, as_json=as_json)
    output.show(
        deliveries_table(found) if found else "no deliveries", [asdict(one) for one in found]
    )


@app.command(
    "replay",
    epilog="Examples: paycore webhooks replay --delivery 12  |  "
    "paycore webhooks replay --dead-of 7041 --since 2026-11-28",
)
def replay(
    delivery: Annotated[int | None, typer.Option(help="Id of one delivery.")] = None,
    dead_of: Annotated[
        int | None, typer.Option(help="Id of a subscription: all that is dead of it.")
    ] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Of those, the ones made from then on, in UTC.")
    ] = None,
    reason: Reason = "",
    key: options.Key = None,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Send again."""
    output = Output(as_json=as_json)

    async def work() -> ReplayReceipt:
        if (delivery is None) is (dead_of is None) or (since and dead_of is None):
            raise UsageError("either --delivery, or --dead-of with or without --since")
        async with find_deployment(state, identity).client() as client:
            if delivery is not None:
                return await client.replay_delivery(delivery, reason, idempotency_key=key)
            return await client.replay_dead(dead_of or 0, since, reason, idempotency_key=key)

    receipt = run(output, work)
    more = "; there may be more: ask again" if receipt.more else ""
    output.show(f"{receipt.deliveries:,} sent again{more}", receipt)


def _asked(
    ask: Callable[[PaycoreClient], Awaitable[Answer]],
    state: options.State,
    identity: str,
    *,
    as_json: bool,
) -> tuple[Output, Answer]:
    output = Output(as_json=as_json)

    async def work() -> Answer:
        async with find_deployment(state, identity).client() as client:
            return await ask(client)

    return output, run(output, work)


def _plain(receipt: SubscriptionReceipt | SecretReceipt) -> dict[str, object]:
    return {name: value for name, value in asdict(receipt).items() if name != "secret"}
