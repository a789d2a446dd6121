"""What a fresh index does not take: no reason to go on without a fresh index.

A document that is refused for good is missing in every generation of the index, and is a dead
letter. A build that waited for it would never serve.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from projector.dead_letters import Rejection
from projector.errors import IndexUnequalError
from projector.sinks.elastic_drift import TOLD, Difference

Key = tuple[str, int]


class Gaps:
    """Documents that were refused for good during one build, at most `most` of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._refused: dict[Key, Rejection] = {}

    def note(self, rejections: Iterable[Rejection]) -> None:
        """Remember what was refused. Raises IndexUnequalError beyond `most`: a flood is a fault of
        the mapping, with which the index must not serve."""
        for rejection in rejections:
            self._refused[str(rejection.kind), rejection.id] = rejection
        if len(self._refused) > self._most:
            raise IndexUnequalError(
                f"the fresh index refused more than {self._most} documents, as many as there may be"
                " dead letters"
            )

    def explain(self, differences: Sequence[Difference]) -> bool:
        """Whether all of `differences` are documents that were refused."""
        return all(
            one.document is not None and (str(one.kind), one.id) in self._refused
            for one in differences
        )

    def among(self, differences: Sequence[Difference]) -> list[Rejection]:
        """Why those of `differences` were refused that were."""
        keys = [(str(one.kind), one.id) for one in differences]
        return [self._refused[key] for key in keys if key in self._refused]


def told(rejections: Sequence[Rejection]) -> str:
    """How many, and the first of them by name."""
    names = ", ".join(f"{one.kind} {one.id}" for one in rejections[:TOLD])
    more = f" and {len(rejections) - TOLD} more" if len(rejections) > TOLD else ""
    return f"{len(rejections)} refused for good, which are dead letters: {names}{more}"
