"""Options that the commands share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploy.local.state import STATE_VARIABLE
from operations.deployment import DEFAULT_IDENTITY

State = Annotated[
    Path | None,
    typer.Option(
        "--state",
        help="State folder of the local stack.",
        envvar=STATE_VARIABLE,
        show_default=".paycore",
        rich_help_panel="Which paycore",
    ),
]
Identity = Annotated[
    str,
    typer.Option(
        "--as",
        metavar="IDENTITY",
        help="Caller whose certificate of the local stack is shown: app, loadtest, analyst, "
        "operator, stranger.",
        rich_help_panel="Which paycore",
    ),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print JSON instead of text.", rich_help_panel="Output"),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        help="Idempotency key: repeat it to repeat the same request safely.",
        show_default="a new one",
    ),
]
PinFile = Annotated[
    typer.FileText | None,
    typer.Option(
        "--pin-file",
        help="Read the PIN from this file, or from standard input with '-'.",
        envvar="PAYCORE_PIN_FILE",
        lazy=False,
    ),
]
User = Annotated[str, typer.Argument(help="Owner of accounts, as the ledger names them.")]
Reason = Annotated[
    str,
    typer.Option(help="Why, for the audit; no personal data."),
]
DEFAULT = DEFAULT_IDENTITY
