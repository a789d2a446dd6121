"""`paycore audit`: who changed, was refused, failed, was locked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from operations.cli import options
from operations.cli.output import Output, run
from operations.deployment import find_deployment
from operations.trail import SOURCES, TrailFilter, read_trail
from operations.views.trail import trail_view

FILTERS = "Which entries"


def _option(text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(help=text, rich_help_panel=FILTERS)
    return option


def audit(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Show at most so many.")] = 50,
    page_token: Annotated[
        str, typer.Option(help="Go on where the page ended that gave this token.")
    ] = "",
    since: Annotated[datetime | None, _option("From this time on, UTC.")] = None,
    until: Annotated[datetime | None, _option("Before this time, UTC.")] = None,
    source: Annotated[
        list[str] | None,
        _option(
            "Only ledger (changes of accounts, grants, policies), services (denied calls, limits, "
            "refused step-up) or signing (PINs, devices, keys); repeat for several."
        ),
    ] = None,
    event: Annotated[
        list[str] | None,
        _option("Only this event, as PIN_LOCKED or CALL_DENIED; repeat for several."),
    ] = None,
    actor: Annotated[str | None, _option("Only by this client.")] = None,
    user: Annotated[str | None, _option("Only about or for this user.")] = None,
    device: Annotated[str | None, _option("Only from this device.")] = None,
    address: Annotated[str | None, _option("Only from this address.")] = None,
    account: Annotated[int | None, _option("Only changes of this account.")] = None,
    state: options.State = None,
    identity: options.Identity = "operator",
    as_json: options.AsJson = False,
) -> None:
    """List what matters to security, the newest first.

    One list of every change of an account, grant or policy, and of every security event: PINs
    enrolled, failed, locked and unlocked, step-up refused, limits tripped, calls denied. Events
    that are alike and come together are one line that says how often.

    Reads the database as its auditor (paycore_audit), who may change nothing. Devices and addresses
    of persons are sealed: who may call UnwrapDataKeys sees them, others see hints (#7f3a), by which
    the same ones can be told; a hint has one in 65,536 others. What was erased says so. With the
    trail's key (PAYCORE_TRAIL_KEY_FILE) --device and --address find what is sealed as well; without
    it the answer says that this was not searched.
    """
    output = Output(as_json=as_json)
    sources = [one.upper() for one in source or SOURCES]
    if unknown := sorted(set(sources) - set(SOURCES)):
        raise typer.BadParameter(f"no source {', '.join(unknown).lower()}", param_hint="--source")
    wanted = TrailFilter(
        start=_utc(since),
        end=_utc(until),
        sources=sources,
        events=[one.upper() for one in event or ()],
        client=actor,
        user=user,
        device=device,
        address=address,
        account=account,
    )
    page = run(
        output,
        lambda: read_trail(find_deployment(state, identity), wanted, limit, page_token),
    )
    output.show(trail_view(page), page)


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=moment.tzinfo or UTC)
