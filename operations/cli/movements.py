"""`paycore hold`, `capture`, `release`, `refund`, `reverse` and `group`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from operations.cli import options
from operations.cli.accounts import amount as parse
from operations.cli.output import Output, run
from operations.cli.pins import read_pin
from operations.cli.volume import parse_span
from operations.deployment import find_deployment
from operations.errors import UsageError
from operations.groups import read_group
from operations.views.receipts import group_text, receipt_text
from paycore.client import (
    GroupReceipt,
    HoldOrder,
    Money,
    Note,
    PaycoreClient,
    TransferReceipt,
)

Hold = Annotated[int, typer.Argument(metavar="HOLD", help="Id of the hold.")]
Transfer = Annotated[int, typer.Argument(metavar="TRANSFER", help="Id of the transfer.")]
Amount = Annotated[
    str | None, typer.Argument(help="Decimal in the currency's units; all that is left if absent.")
]
Currency = Annotated[str | None, typer.Argument(help="ISO 4217 code of the amount.")]
Reference = Annotated[str, typer.Option(help="Your own reference, to find it by.")]
Description = Annotated[str, typer.Option(help="Free text; personal data, erasable.")]


def hold(
    debit: Annotated[int, typer.Argument(metavar="FROM", help="Account that pays.")],
    credit: Annotated[int, typer.Argument(metavar="TO", help="Account that a capture pays.")],
    amount: Annotated[str, typer.Argument(help="Decimal in the currency's units: 12.50")],
    currency: Annotated[str, typer.Argument(help="ISO 4217 code, such as EUR.")],
    span: Annotated[str, typer.Option("--for", help="How long: 90m, 24h or 30d.")] = "7d",
    reference: Reference = "",
    description: Description = "",
    with_pin: Annotated[
        bool, typer.Option("--pin", help="Ask for the payer's PIN and seal it to this hold.")
    ] = False,
    pin_file: options.PinFile = None,
    key: options.Key = None,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Set money aside until it is captured, released, or its time is up."""

    async def work(client: PaycoreClient) -> TransferReceipt:
        order = HoldOrder(
            debit_account=debit,
            credit_account=credit,
            amount=Money(parse(amount, currency), currency),
            expires_at=datetime.now(UTC) + parse_span(span),
            reference=reference,
            description=description,
            idempotency_key=key,
        )
        pin = read_pin(pin_file) if with_pin or pin_file is not None else None
        return await client.hold_funds(order, pin=pin)

    post(work, state, identity, as_json=as_json)


def capture(
    hold: Hold,
    amount: Amount = None,
    currency: Currency = None,
    final: Annotated[
        bool, typer.Option("--final/--keep-rest", help="Free the rest, or keep it held.")
    ] = True,
    reference: Reference = "",
    description: Description = "",
    key: options.Key = None,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Move held money to the payee: all of it, or a part."""

    async def work(client: PaycoreClient) -> TransferReceipt:
        return await client.capture_hold(
            hold,
            _money(amount, currency),
            final=final,
            note=Note(reference, description),
            idempotency_key=key,
        )

    post(work, state, identity, as_json=as_json)


def release(
    hold: Hold,
    reference: Reference = "",
    description: Description = "",
    key: options.Key = None,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Free what is still held."""

    async def work(client: PaycoreClient) -> TransferReceipt:
        return await client.release_hold(
            hold, note=Note(reference, description), idempotency_key=key
        )

    post(work, state, identity, as_json=as_json)


def refund(
    transfer: Transfer,
    amount: Amount = None,
    currency: Currency = None,
    reference: Reference = "",
    description: Description = "",
    key: options.Key = None,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Give a payment back: all that is left of it, or a part."""

    async def work(client: PaycoreClient) -> TransferReceipt:
        return await client.refund_transfer(
            transfer,
            _money(amount, currency),
            note=Note(reference, description),
            idempotency_key=key,
        )

    post(work, state, identity, as_json=as_json)


def reverse(
    transfer: Transfer,
    reason: Annotated[str, typer.Option(help="Why, 1 to 256 characters; kept with it.")],
    reference: Reference = "",
    key: options.Key = None,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Undo a transfer whole, if the account that was paid still has the money.

    A refusal for want of money is listed by `paycore reversals list`.
    """

    async def work(client: PaycoreClient) -> TransferReceipt:
        return await client.reverse_transfer(
            transfer, reason, reference=reference, idempotency_key=key
        )

    post(work, state, identity, as_json=as_json)


def group(
    file: Annotated[
        Path,
        typer.Argument(
            allow_dash=True,
            help="CSV with debit_account, credit_account, amount, currency and, where wanted, "
            "kind, reference, description; '-' is standard input.",
        ),
    ],
    key: options.Key = None,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Post up to 1,000 transfers, all or none, in the order of a file: a payroll.

    Sent again without its --key, a file is paid again.
    """
    output = Output(as_json=as_json)

    async def work() -> GroupReceipt:
        orders = read_group(_lines(file))
        async with find_deployment(state, identity).client() as client:
            return await client.submit_transfer_group(orders, idempotency_key=key)

    receipt = run(output, work)
    output.show(group_text(receipt), receipt)


def _lines(file: Path) -> list[str]:
    try:
        if str(file) == "-":
            return typer.get_text_stream("stdin").readlines()
        return file.read_text(encoding="utf-8-sig").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from None


def _money(amount: str | None, currency: str | None) -> Money | None:
    if amount is None:
        return None
    if currency is None:
        raise UsageError("an amount needs its currency: 12.50 EUR")
    return Money(parse(amount, currency), currency)


def post(
    command: Callable[[PaycoreClient], Awaitable[TransferReceipt]],
    state: Path | None,
    identity: str,
    *,
    as_json: bool,
) -> None:
    """Do what posts one transfer, and show it."""
    output = Output(as_json=as_json)

    async def work() -> TransferReceipt:
        async with find_deployment(state, identity).client() as client:
            return await command(client)

    receipt = run(output, work)
    output.show(receipt_text(receipt), receipt)
