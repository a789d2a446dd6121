"""`paycore limits`: how much clients may ask."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from operations.cli import options
from operations.cli.output import Output, run
from operations.cli.policy_change import OPERATOR, Reason, Revision, change_policy
from operations.deployment import find_deployment
from operations.errors import UsageError
from operations.views.as_is import as_is
from paycore.client.policy_model import PolicyReceipt, StandingLimit
from paycore.domain.limits import Limit, Place, RateLimit, Setting, VelocityLimit

app = typer.Typer(help="Set how much clients may ask.", no_args_is_help=True)

_RATE: tuple[str, ...] = ("--per-s", "--burst")
_VELOCITY: tuple[str, ...] = ("--window", "--payees", "--identifiers")

Name = Annotated[Limit, typer.Argument(help="Which limit.", case_sensitive=False)]
Client = Annotated[
    str,
    typer.Option(
        "--client", help="Name in its certificate; else every client of which nothing is said."
    ),
]
Method = Annotated[
    str,
    typer.Option(
        "--method", metavar="SERVICE/METHOD", help="Its calls then count apart; with a client."
    ),
]


@app.command("list", epilog="Example: paycore limits list --client app --json")
def list_limits(
    client_name: Annotated[str | None, typer.Option("--client", help="Only this client's.")] = None,
    state: options.State = None,
    identity: options.Identity = OPERATOR,
    as_json: options.AsJson = False,
) -> None:
    """Show all that is said of limits, by the database, the file and defaults."""
    output = Output(as_json=as_json)

    async def work() -> list[StandingLimit]:
        async with find_deployment(state, identity).client() as client:
            return [one async for one in client.list_limits(client_name)]

    found = run(output, work)
    shown = _table(found) if found else "nothing is said of this client's limits"
    output.show(shown, [_plain(one) for one in found])


@app.command(
    "set",
    epilog="Examples: paycore limits set device --client app --per-s 2 --burst 20 --reason 'agreed'"
    "  |  paycore limits set velocity --window 3600 --payees 10 --identifiers 3 --reason 'card"
    " testing'  |  paycore limits set user --client payroll --off --reason 'pays for one user'",
)
def set_limit(
    name: Name,
    reason: Reason,
    client_name: Client = "",
    method: Method = "",
    per_s: Annotated[float | None, typer.Option(help="Units a second.")] = None,
    burst: Annotated[int | None, typer.Option(help="Units at once.")] = None,
    window: Annotated[
        int | None, typer.Option(help="Of velocity: within so many seconds ...")
    ] = None,
    payees: Annotated[int | None, typer.Option(help="... so many payees of a device, ...")] = None,
    identifiers: Annotated[int | None, typer.Option(help="... so many identifiers.")] = None,
    off: Annotated[bool, typer.Option("--off", help="Have no such limit.")] = False,
    revision: Revision = None,
    key: options.Key = None,
    state: options.State = None,
    identity: options.Identity = OPERATOR,
    as_json: options.AsJson = False,
) -> None:
    """Set a limit, over what the file and defaults say of it."""
    figures = {
        "--per-s": per_s,
        "--burst": burst,
        "--window": window,
        "--payees": payees,
        "--identifiers": identifiers,
    }
    output = Output(as_json=as_json)
    place = Place(client_name, method, name)

    async def setting() -> Setting:
        return _setting(name, figures, off=off)

    wanted = run(output, setting)
    change_policy(
        lambda client: client.set_limit(
            place, wanted, reason, expected_revision=revision, idempotency_key=key
        ),
        state,
        identity,
        as_json=as_json,
        as_plain=_plain_receipt,
    )


@app.command(
    "remove",
    epilog="Example: paycore limits remove device --client app --reason 'as before'",
)
def remove_limit(
    name: Name,
    reason: Reason,
    client_name: Client = "",
    method: Method = "",
    revision: Revision = None,
    key: options.Key = None,
    state: options.State = None,
    identity: options.Identity = OPERATOR,
    as_json: options.AsJson = False,
) -> None:
    """Have what the file and defaults say of a limit again."""
    change_policy(
        lambda client: client.remove_limit(
            Place(client_name, method, name),
            reason,
            expected_revision=revision,
            idempotency_key=key,
        ),
        state,
        identity,
        as_json=as_json,
        as_plain=_plain_receipt,
    )


def _setting(name: Limit, figures: dict[str, float | int | None], *, off: bool) -> Setting:
    wanted = _VELOCITY if name is Limit.VELOCITY else _RATE
    given = {option for option, figure in figures.items() if figure is not None}
    if given != (set() if off else set(wanted)):
        raise UsageError(f"{name} is set by {' and '.join(wanted)}, or by --off alone")
    if off:
        return None
    numbers = [figures[option] or 0 for option in wanted]
    if name is Limit.VELOCITY:
        return VelocityLimit(*map(int, numbers))
    return RateLimit(float(numbers[0]), int(numbers[1]))


def _table(found: list[StandingLimit]) -> Table:
    table = Table("client", "method", "limit", "set to", "by", "revision")
    # A method must be there whole: it is what another command is to be given.
    table.columns[1].overflow = "fold"
    for one in found:
        place = one.place
        table.add_row(
            as_is(place.client or "(all others)"),
            as_is(place.method or "(all)"),
            place.limit.value,
            _text(one.setting),
            one.source.value.lower(),
            str(one.revision or "-"),
        )
    return table


def _text(setting: Setting) -> str:
    match setting:
        case RateLimit(per_s=per_s, burst=burst):
            return f"{per_s:,g}/s, {burst:,} at once"
        case VelocityLimit(window_s=window_s, payees=payees, identifiers=identifiers):
            return f"{payees:,} payees, {identifiers:,} identifiers in {window_s:,} s"
        case None:
            return "off"


def _plain(one: StandingLimit) -> dict[str, object]:
    setting: dict[str, object] = {"off": True}
    match one.setting:
        case RateLimit(per_s=per_s, burst=burst):
            setting = {"per_s": per_s, "burst": burst}
        case VelocityLimit() as velocity:
            setting = velocity._asdict()
    return {
        **one.place._asdict(),
        **setting,
        "source": one.source.value,
        "revision": one.revision,
    }


def _plain_receipt(receipt: PolicyReceipt) -> dict[str, object]:
    return {
        "changed": receipt.changed,
        "idempotency_key": receipt.idempotency_key,
        "replayed": receipt.replayed,
        "limit": None if receipt.limit is None else _plain(receipt.limit),
    }
