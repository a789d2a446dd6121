"""Judges the changes of a part in a copy of the tree, round by round."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deploy.local import LocalStack
from tests.mutants.changes import Change, End, Judged
from tests.mutants.copies import prepare
from tests.mutants.crew import Crew
from tests.mutants.judge import REACHED_VARIABLE
from tests.mutants.kept import Kept
from tests.mutants.parts import MutantsError, Part, Round
from tests.support.databases import spare_the_disk
from tests.teeth.stores import Environment, shared_stores

AT_ONCE = 4
"""Processes that stay: their tests wait for most of the time."""


def judge(
    tree: Path,
    folder: Path,
    part: Part,
    modules: Sequence[str] = (),
    kept: Kept | None = None,
) -> dict[Change, Judged]:
    """What became of each change of `part` in a copy of `tree` in `folder`.

    What `kept` has seen is not judged again. Raises MutantsError.
    """
    place = folder / "tree"
    changes = prepare(tree, place, part, modules or part.modules)
    seen = {} if kept is None else kept.read()
    verdicts = {change: seen[change] for change in changes.values() if change in seen}
    names = [name for name, change in changes.items() if change not in seen]
    say(f"{len(changes)} changes in {part.folder}, {len(verdicts)} of them seen before")
    for by in part.rounds:
        if not names:
            break
        began_s = time.monotonic()
        found = _run_round(place, folder, names, by, changes, kept)
        verdicts |= {changes[name]: judged for name, judged in found.items()}
        names = [name for name, judged in found.items() if judged.lives]
        took_s = time.monotonic() - began_s
        say(f"{by.name}: {len(names)} of {len(found)} live, {took_s:.0f} s")
    return verdicts


def say(text: str) -> None:
    """Tell who waits."""
    print(text, file=sys.stderr, flush=True)


def _run_round(
    place: Path,
    folder: Path,
    names: Sequence[str],
    by: Round,
    changes: Mapping[str, Change],
    kept: Kept | None,
) -> dict[str, Judged]:
    with ExitStack() as stack:
        crew = Crew(place, folder, by.tests)
        try:
            if by.stays or by.on_stores:
                places = _places(folder / by.name)
                environments: Sequence[Environment] = [places] * AT_ONCE
                if by.on_stores:
                    environments = stack.enter_context(_stores(folder / by.name, places))
                crew.judge_side_by_side(names, environments)
            else:
                crew.judge(names, {})
        finally:
            # Of a run that is interrupted too.
            found = {
                line["name"]: Judged(End(line["end"]), line["by"], by.name)
                for line in crew.verdicts()
            }
            if kept is not None:
                kept.add({changes[name]: judged for name, judged in found.items()})
    if found.keys() != set(names):
        raise MutantsError(f"only {len(found)} of {len(names)} changes were judged")
    return found


def _places(folder: Path) -> Environment:
    """Where processes that stay leave things to each other, and what is to go with the run."""
    temporary = folder / "tmp"
    temporary.mkdir(parents=True)
    for place in (folder.parent, folder, temporary):
        # The stores run as another user when this runs as root, and must reach their folders.
        place.chmod(0o755)
    return {REACHED_VARIABLE: str(folder / "reached.json"), "TMPDIR": str(temporary)}


@contextmanager
def _stores(folder: Path, places: Environment) -> Iterator[list[Environment]]:
    """Stores for AT_ONCE processes, in `folder`.

    Each has a PostgreSQL of its own: a database cannot be copied while another connects to it.
    """
    with ExitStack() as stack:
        shared = stack.enter_context(shared_stores(folder / "stores"))
        environments: list[Environment] = []
        for number in range(AT_ONCE):
            own = LocalStack(folder / f"postgres-{number}", parts=frozenset({"postgres"}))
            endpoints = stack.enter_context(own).endpoints
            spare_the_disk(endpoints)
            dsn = {"PAYCORE_STACK_POSTGRES_DSN": endpoints.postgres_admin_dsn}
            environments.append({**shared, **places, **dsn})
        yield environments
