"""`paycore device`: what a payer's device signs approvals with."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer
from rich.table import Table

from operations.cli import options
from operations.cli.output import Output, run
from operations.deployment import find_deployment
from operations.views.as_is import in_markup
from paycore.client.devices import ListedDevice

app = typer.Typer(help="Devices, whose keys sign approvals of payments.", no_args_is_help=True)


@app.callback()
def devices() -> None:
    """Devices, whose keys sign approvals of payments."""


@app.command("list", epilog="Example: paycore device list ada --as operator")
def list_devices(
    user: options.User,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Show the devices of a user whose keys are in force."""
    output = Output(as_json=as_json)

    async def work() -> tuple[ListedDevice, ...]:
        async with find_deployment(state, identity).client() as client:
            return await client.list_devices(user)

    found = run(output, work)
    output.show(_table(found) if found else f"{in_markup(user)} has no device in force", found)


@app.command(
    epilog="Example: paycore device revoke ada 0f3e...9c --reason 'reported lost' --as operator"
)
def revoke(
    user: options.User,
    device: Annotated[str, typer.Argument(help="Id of the device: 32 hexadecimal digits.")],
    reason: options.Reason,
    state: options.State = None,
    identity: options.Identity = options.DEFAULT,
    as_json: options.AsJson = False,
) -> None:
    """Take a device's key out of force, for ever."""
    output = Output(as_json=as_json)

    async def work() -> datetime:
        async with find_deployment(state, identity).client() as client:
            return await client.revoke_device(user, device, reason)

    at = run(output, work)
    output.show(
        f"[green]✓[/] {in_markup(device)} of {in_markup(user)} approves nothing since "
        f"{at:%Y-%m-%d %H:%M:%S} UTC",
        {"user": user, "device": device, "revoked_at": at},
    )


def _table(found: tuple[ListedDevice, ...]) -> Table:
    table = Table()
    # Whole: it is what `revoke` is given.
    table.add_column("device", no_wrap=True)
    for title in ("key", "enrolled (UTC)", "vouched by"):
        table.add_column(title)
    for one in found:
        at = f"{one.enrolled_at:%Y-%m-%d %H:%M:%S}"
        by = in_markup(one.vouched_by or "the PIN")
        table.add_row(one.device_id, one.algorithm.value, at, by)
    return table
