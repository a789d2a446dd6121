"""Remembers which copies of accounts a sink has taken, so that none is sent to it twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from projector.batch import Document, DocumentKind


class SentVersions:
    """The latest version taken of each of the accounts seen last, `most` at most.

    While catching up, every page names accounts that stand in the index already as they are now: a
    copy of theirs would cost the sink as much as a new document, only to be refused.
    """

    def __init__(self, most: int = 100_000) -> None:
        self._most = most
        self._versions: OrderedDict[int, int] = OrderedDict()

    def unsent(self, documents: Iterable[Document]) -> list[Document]:
        """Those of `documents` that are not known to have been taken in this version or later."""
        return [document for document in documents if not self._is_known(document)]

    def note(self, documents: Sequence[Document]) -> None:
        """Remember that the sink has taken `documents`."""
        for document in documents:
            if document.kind is DocumentKind.ACCOUNT:
                self._versions[document.id] = document.version
                self._versions.move_to_end(document.id)
        while len(self._versions) > self._most:
            self._versions.popitem(last=False)

    def _is_known(self, document: Document) -> bool:
        return (
            document.kind is DocumentKind.ACCOUNT
            and self._versions.get(document.id, -1) >= document.version
        )
