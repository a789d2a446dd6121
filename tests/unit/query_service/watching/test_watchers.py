"""How many may watch at once."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from paycore.domain.errors import PaycoreError, Reason
from query_service.watching.watchers import Watchers, WatchLimits


def test_places_are_bounded_for_a_client_and_for_all_and_given_back() -> None:
    watchers = Watchers(WatchLimits(watchers=3, of_a_client=2))
    with ExitStack() as others:
        for _ in range(2):
            others.enter_context(watchers.admitted("app"))
        with pytest.raises(PaycoreError) as refused, watchers.admitted("app"):
            pass
        assert refused.value.reason is Reason.OVERLOADED
        assert refused.value.metadata == {"limit": "watchers_of_a_client", "most": "2"}
        others.enter_context(watchers.admitted("other"))
        with pytest.raises(PaycoreError) as refused, watchers.admitted("third"):
            pass
        assert refused.value.metadata["limit"] == "watchers"
        assert refused.value.retry_after_ms
    with watchers.admitted("app"), watchers.admitted("app"):
        pass
