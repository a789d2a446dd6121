"""`paycore pin`: what a payer proves approval with."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from operations.cli import options
from operations.cli.output import Output, run
from operations.cli.pins import read_pin
from operations.deployment import find_deployment

app = typer.Typer(help="PINs, with which payers approve payments.", no_args_is_help=True)


@app.callback()
def pins() -> None:
    """PINs, with which payers approve payments."""


@app.command(epilog="Examples: paycore pin enroll ada  |  paycore pin enroll ada --pin-file PATH")
def enroll(
    user: Annotated[str, typer.Argument(help="Owner of the accounts that the PIN will guard.")],
    pin_file: options.PinFile = None,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Set a user's first PIN. It is asked for unseen, and leaves this machine only sealed."""
    output = Output(as_json=as_json)

    async def work() -> datetime:
        deployment = find_deployment(state, identity)
        pin = read_pin(pin_file, confirm=True)
        async with deployment.client() as client:
            return await client.enroll_pin(user, pin)

    at = run(output, work)
    output.show(
        f"[green]✓[/] {user} has a PIN since {at:%Y-%m-%d %H:%M:%S} UTC",
        {"user": user, "enrolled_at": at},
    )


@app.command(
    epilog="Example: paycore pin reset ada --reason 'identified in branch 7' --as operator"
)
def reset(
    user: options.User,
    reason: options.Reason,
    keep_devices: Annotated[
        bool, typer.Option("--keep-devices", help="The user has shown to have them.")
    ] = False,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Take a user's PIN and devices out of force; the user can then set another PIN. A lock stays
    until then."""
    output = Output(as_json=as_json)

    async def work() -> tuple[str, ...]:
        async with find_deployment(state, identity).client() as client:
            return await client.reset_pin(user, reason, keep_devices=keep_devices)

    revoked = run(output, work)
    devices = "the devices stay" if keep_devices else f"{len(revoked)} devices were revoked"
    output.show(
        f"[green]✓[/] {user} has no PIN in force; {devices}",
        {"user": user, "revoked_devices": revoked},
    )


@app.command(epilog="Example: paycore pin unlock ada --reason 'identified by phone' --as operator")
def unlock(
    user: options.User,
    reason: options.Reason,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """End the lock that followed a user's wrong PINs."""
    output = Output(as_json=as_json)

    async def work() -> None:
        async with find_deployment(state, identity).client() as client:
            await client.unlock_pin(user, reason)

    run(output, work)
    output.show(f"[green]✓[/] {user} is not locked", {"user": user})
