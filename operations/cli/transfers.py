"""`paycore transfer`: move money."""

from __future__ import annotations

from typing import Annotated

import typer

from operations.cli import options
from operations.cli.accounts import amount as parse
from operations.cli.output import Output, run
from operations.cli.pins import read_pin
from operations.deployment import find_deployment
from operations.views.receipts import receipt_text
from paycore.client import Money, TransferKind, TransferOrder, TransferReceipt


def transfer(
    debit: Annotated[int, typer.Argument(metavar="FROM", help="Account that pays.")],
    credit: Annotated[int, typer.Argument(metavar="TO", help="Account that is paid.")],
    amount: Annotated[str, typer.Argument(help="Decimal in the currency's units: 12.50")],
    currency: Annotated[str, typer.Argument(help="ISO 4217 code, such as EUR.")],
    kind: Annotated[
        TransferKind,
        typer.Option(
            case_sensitive=False,
            help="DEPOSIT comes from an EXTERNAL account, WITHDRAWAL goes to one.",
        ),
    ] = TransferKind.TRANSFER,
    reference: Annotated[str, typer.Option(help="Your own reference, to find it by.")] = "",
    description: Annotated[str, typer.Option(help="Free text; personal data, erasable.")] = "",
    with_pin: Annotated[
        bool, typer.Option("--pin", help="Ask for the payer's PIN and seal it to this payment.")
    ] = False,
    pin_file: options.PinFile = None,
    key: options.Key = None,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Move money from one account to another, once, however often the request must be sent."""
    output = Output(as_json=as_json)

    async def work() -> TransferReceipt:
        order = TransferOrder(
            debit_account=debit,
            credit_account=credit,
            amount=Money(parse(amount, currency), currency),
            kind=kind,
            reference=reference,
            description=description,
            idempotency_key=key,
        )
        deployment = find_deployment(state, identity)
        pin = read_pin(pin_file) if with_pin or pin_file is not None else None
        async with deployment.client() as client:
            return await client.submit_transfer(order, pin=pin)

    receipt = run(output, work)
    output.show(receipt_text(receipt), receipt)
