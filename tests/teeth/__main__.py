"""`python -m tests.teeth`: plant bugs, one at a time, and see the named tests catch each."""

from __future__ import annotations

import shlex
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from deploy.local import StackError
from tests.bench.document import MarkersError
from tests.teeth.bugs import ROOT, Bug, TeethError, read_bugs
from tests.teeth.catching import Jaw, Verdict
from tests.teeth.report import DOCUMENT, save, show
from tests.teeth.stores import Environment, needs_none, needs_own, shared_stores

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130

# Wide enough for the table where the output is a file.
WIDTH = None if sys.stdout.isatty() else 200

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
console = Console(width=WIDTH)
errors = Console(stderr=True, width=WIDTH)


@app.command()
def teeth(
    bugs: Annotated[
        str, typer.Option(help="Names of bugs, with commas between them; without any: all.")
    ] = "",
    listed: Annotated[
        bool, typer.Option("--list", help="Only say which bugs there are, and run nothing.")
    ] = False,
    saved: Annotated[
        bool, typer.Option("--save", help="Also write the table into docs/proof/teeth.md.")
    ] = False,
    tree: Annotated[
        Path, typer.Option(help="The tree that is copied, with its bugs; by default this one.")
    ] = ROOT,
) -> None:
    """Plant bugs in copies of this tree and see that the tests named for each catch it.

    Each bug is a patch in tests/teeth/bugs, whose head says what is wrong and which tests must fail
    by an assertion of theirs. First these tests run once in a copy without any bug, where all must
    pass; then, for each bug, in a copy of its own with the patch, on that copy's code. The tree
    itself is not changed, and no copy is left.

    Ends with 0 where every bug is caught by every test that is named for it; with 1 where one is
    not, where a patch no longer applies, or where a test ends in any other way.
    """
    # As Ctrl-C: what was started is stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    only = [name for name in bugs.replace(",", " ").split() if name]
    try:
        planted = read_bugs(tree, only)
        if listed:
            _list(planted)
            return
        verdicts, whole_s, took_s = _run(tree, planted)
        show(verdicts, console)
        if saved:
            save(_command(only), verdicts, whole_s, took_s)
            console.print(f"written: {DOCUMENT.relative_to(ROOT)}")
    except (MarkersError, StackError, TeethError) as error:
        errors.print(str(error), style="red", highlight=False, markup=False)
        raise typer.Exit(EXIT_FAILED) from None
    except KeyboardInterrupt:
        errors.print("interrupted: the copies are gone")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if not all(verdict.caught for verdict in verdicts):
        raise typer.Exit(EXIT_FAILED)


def _run(tree: Path, planted: list[Bug]) -> tuple[list[Verdict], float, float]:
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="paycore-teeth-") as folder, ExitStack() as stack:
        # The stores run as another user when this runs as root, and must reach their folders.
        Path(folder).chmod(0o755)
        environment: Environment = {}
        sharing = [bug for bug in planted if not needs_none(bug) and not needs_own(bug)]
        jaw = Jaw(tree, Path(folder), lambda bug: environment if bug in sharing else {})
        jaw.check(planted)
        if sharing:
            _tell("starting the stores that runs share")
            environment = stack.enter_context(shared_stores(Path(folder) / "stores"))
        _tell(f"the tests of {len(planted)} bugs, without any bug")
        whole_s = jaw.run_whole(planted)
        _tell(f"all passed, {whole_s:.0f} s")
        verdicts = []
        for verdict in jaw.verdicts(planted):
            verdicts.append(verdict)
            said = "caught" if verdict.caught else "NOT CAUGHT"
            _tell(f"{said}: {verdict.bug.name}, {verdict.took_s:.0f} s, of {verdict.paycore}")
            for catch in verdict.catches:
                if not catch.caught:
                    _tell(f"  {catch.test}: {catch.how}")
    return verdicts, whole_s, time.monotonic() - began_s


def _list(planted: list[Bug]) -> None:
    for bug in planted:
        console.print(f"{bug.name}: {bug.what}", markup=False, highlight=False)
        for test in bug.tests:
            console.print(f"  {test}", markup=False, highlight=False)


def _command(only: list[str]) -> str:
    return shlex.join(["make", "teeth", *([f"BUGS={','.join(only)}"] if only else []), "SAVE=1"])


def _tell(text: str) -> None:
    errors.print(text, markup=False, highlight=False)


if __name__ == "__main__":
    app(prog_name="python -m tests.teeth")
