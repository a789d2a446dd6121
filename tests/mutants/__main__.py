"""`python -m tests.mutants`: change the rules of money in small ways, and see the tests fail."""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tests.bench.document import MarkersError
from tests.mutants.kept import Kept
from tests.mutants.parts import PARTS, ROOT, MutantsError
from tests.mutants.reasons import REASONS, as_toml, read_reasons
from tests.mutants.report import DOCUMENT, Run, save_run, show_run
from tests.mutants.runs import judge

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130

# Wide enough for the table where the output is a file.
WIDTH = None if sys.stdout.isatty() else 200

_BY_DEFAULT = [name for name, part in PARTS.items() if part.by_default]
_DEFAULTS = " and ".join(_BY_DEFAULT)

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
console = Console(width=WIDTH)
errors = Console(stderr=True, width=WIDTH)


@app.command()
def mutants(
    part: Annotated[
        str, typer.Option(help=f"One of {', '.join(PARTS)}; without any: {_DEFAULTS}.")
    ] = "",
    modules: Annotated[
        str, typer.Option(help="Names of its files, with commas between them; without any: all.")
    ] = "",
    proposed: Annotated[
        Path | None,
        typer.Option("--propose", help="File to write entries for reasons.toml to, to fill in."),
    ] = None,
    again: Annotated[
        bool, typer.Option(help="Judge only what earlier runs over the same code did not see.")
    ] = False,
    saved: Annotated[
        bool, typer.Option("--save", help="Also write the result into docs/proof/mutants.md.")
    ] = False,
    tree: Annotated[
        Path, typer.Option(help="The tree that is copied; by default this one.")
    ] = ROOT,
    reasons: Annotated[Path, typer.Option(help="Why what lives is harmless.")] = REASONS,
) -> None:
    """Make every small change of the rules of money, one at a time, and see a test fail.

    Ends with 0 where each change is seen, or lives for a reason in tests/mutants/reasons.toml; with
    1 where one lives without, where a reason is given for what does not live, or where the tests
    do not pass without any change.
    """
    # As Ctrl-C: what was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    only = [name for name in modules.replace(",", " ").split() if name]
    whole = True
    try:
        if part and part not in PARTS:
            raise MutantsError(f"{part} is none of {', '.join(PARTS)}")
        if saved and only:
            raise MutantsError("only whole parts are written into the document")
        for name in [part] if part else _BY_DEFAULT:
            run = _run(name, tree, only, reasons, again=again)
            show_run(run, console)
            if saved:
                save_run(run)
                console.print(f"written: {DOCUMENT.relative_to(ROOT)}")
            if proposed is not None:
                with proposed.open("a", encoding="utf-8") as file:
                    file.write(as_toml(run.unexplained))
            whole = whole and not run.unexplained and not run.outdated
    except (MarkersError, MutantsError) as error:
        errors.print(str(error), style="red", highlight=False, markup=False)
        raise typer.Exit(EXIT_FAILED) from None
    except KeyboardInterrupt:
        errors.print("interrupted: the copy is gone")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if not whole:
        raise typer.Exit(EXIT_FAILED)


def _run(name: str, tree: Path, modules: list[str], reasons: Path, *, again: bool) -> Run:
    known = read_reasons(reasons)
    kept = Kept(tree / ".build" / "mutants" / f"{name}.jsonl", tree, PARTS[name])
    if not again:
        kept.forget()
    before = len(kept.read())
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="paycore-mutants-") as folder:
        verdicts = judge(tree, Path(folder), PARTS[name], modules, kept)
    notes = [f"- in all: {time.monotonic() - began_s:.0f} s"]
    if before:
        notes.append(f"- seen by earlier runs over the same code, and not judged again: {before}")
    return Run(name, verdicts, known, " ARGS=--again" if again else "", notes)


if __name__ == "__main__":
    app(prog_name="python -m tests.mutants")
