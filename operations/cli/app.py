"""The commands of `paycore`, put together."""

from __future__ import annotations

import typer

from operations.cli import (
    accounts,
    audit,
    balance,
    dead_letters,
    demo,
    desk,
    device,
    erase,
    history,
    index,
    limits,
    load,
    movements,
    pin,
    policy,
    risk,
    search,
    stack,
    statement,
    stats,
    stream,
    transfers,
    verify,
    volume,
    watch,
    webhooks,
)

EPILOG = (
    "Exit codes: 0 done; 1 refused or failed; 2 wrong usage; 3 a part cannot be reached, try again."
)

app = typer.Typer(
    name="paycore",
    help="Run paycore, move money through it, read it back, and prove that none was lost.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(epilog="Example: paycore up --processes 2")(stack.up)
app.command(epilog="Example: paycore status --json")(stack.status)
app.add_typer(accounts.app, name="account")
app.add_typer(pin.app, name="pin")
app.add_typer(device.app, name="device")
app.command(
    epilog="Examples: paycore transfer 7041 7042 12.50 EUR --reference invoice-4711  |  "
    "paycore transfer 7041 7042 2500 EUR --pin"
)(transfers.transfer)
app.command(epilog="Example: paycore hold 7041 7042 80.00 EUR --for 7d")(movements.hold)
app.command(epilog="Examples: paycore capture 9001  |  paycore capture 9001 30.00 EUR --keep-rest")(
    movements.capture
)
app.command(epilog="Example: paycore release 9001")(movements.release)
app.command(epilog="Examples: paycore refund 9002  |  paycore refund 9002 5.00 EUR")(
    movements.refund
)
app.command(epilog="Example: paycore reverse 9002 --reason 'sent twice' --as operator")(
    movements.reverse
)
app.command(epilog="Example: paycore group payroll.csv --key payroll-2026-11")(movements.group)
app.add_typer(index.index, name="index")
app.add_typer(dead_letters.letters, name="dead-letters")
app.add_typer(policy.policies, name="policy")
app.add_typer(policy.grants, name="grants")
app.add_typer(limits.app, name="limits")
app.add_typer(risk.app, name="risk")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(desk.reviews, name="review")
app.add_typer(desk.reversals, name="reversals")
app.command(epilog="Example: paycore history 7041 --limit 100 --kind deposit")(history.history)
app.command(
    epilog="Examples: paycore balance 7041  |  paycore balance 7041 --at 2026-10-31T23:59:59"
)(balance.balance)
app.command(
    epilog="Examples: paycore statement 7041 --from 2026-10-01 --to 2026-11-01  |  "
    "paycore statement 7041 --csv october.csv --from 2026-10-01 --to 2026-11-01"
)(statement.statement)
app.command(
    epilog="Examples: paycore search rent --meta flat=4b  |  "
    "paycore search --account 7041 --min 10000"
)(search.search)
app.command(epilog="Examples: paycore watch 7041  |  paycore watch 7041 --json --from TOKEN")(
    watch.watch
)
app.command(epilog="Example: paycore volume --currency EUR --last 2h --interval minute")(
    volume.volume
)
app.add_typer(stats.app, name="stats")
app.command(epilog="Example: paycore erase u-7 --reason 'asked for on 2026-11-22'")(erase.erase)
app.command(
    epilog="Examples: paycore audit --event PIN_LOCKED --since 2026-11-01  |  "
    "paycore audit --account 7041 --json"
)(audit.audit)
app.command(epilog="Examples: paycore verify --json  |  paycore verify --chain --head HASH:NUMBER")(
    verify.verify
)
app.add_typer(stream.app, name="stream")
app.command(epilog="Example: paycore demo --transfers 2000")(demo.demo)
app.command(epilog="Example: paycore load --seconds 20 --workers 64")(load.load)
