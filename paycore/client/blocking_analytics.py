"""Analytics: methods of the blocking client."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from typing import TypeVar

from paycore.client import analytics_calls, model, statistics
from paycore.client.calls import Call
from paycore.domain.transfers import TransferKind

Answer = TypeVar("Answer")


class BlockingAnalytics(ABC):
    """Part of `BlockingPaycoreClient`.

    All answer over what the caller may see, from the index, as of `min_position` or later. Times
    are [start, end); None leaves that side open.
    """

    @abstractmethod
    def _run(self, call: Call[Answer]) -> Answer:
        """Send `call` until it has an answer that lasts."""

    def transfer_volume(
        self,
        start: datetime,
        end: datetime,
        interval: model.Interval = model.Interval.MINUTE,
        *,
        currency: str = "",
        kinds: tuple[TransferKind, ...] = (),
        min_position: str = "",
    ) -> model.Volume:
        """Count and sum per interval, currency and kind, from `start` to before `end`."""
        return self._run(
            analytics_calls.transfer_volume(start, end, interval, currency, kinds, min_position)
        )

    def top_counterparties(
        self,
        account: model.AccountName,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int = 10,
        min_position: str = "",
    ) -> model.Counterparties:
        """With whom the account exchanged most; `limit` is at most 100."""
        return self._run(
            analytics_calls.top_counterparties(account, start, end, limit, min_position)
        )

    def kind_breakdown(
        self,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        account: model.AccountName | None = None,
        currency: str = "",
        min_position: str = "",
    ) -> statistics.KindBreakdown:
        """Count and sum of what moved per currency and kind, of all or of one account."""
        return self._run(
            analytics_calls.kind_breakdown(start, end, account, currency, min_position)
        )

    def institution_positions(
        self,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        currency: str = "",
        min_position: str = "",
    ) -> statistics.InstitutionPositions:
        """What moved between institutions, and what each paid, received and owes.

        To settle, ask for a time that has ended, with the `position` of what was posted last.
        """
        return self._run(analytics_calls.institution_positions(start, end, currency, min_position))

    def account_activity(
        self,
        account: model.AccountName,
        start: datetime,
        end: datetime,
        interval: model.Interval = model.Interval.DAY,
        *,
        min_position: str = "",
    ) -> statistics.AccountActivity:
        """What the account was credited and debited per interval, and its balance after each."""
        return self._run(
            analytics_calls.account_activity(account, start, end, interval, min_position)
        )

    def decline_statistics(
        self,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        interval: model.Interval | None = None,
        account: model.AccountName | None = None,
        client: str = "",
        currency: str = "",
        min_position: str = "",
    ) -> statistics.DeclineStatistics:
        """Declines by reason beside what was posted; `account` is the payer's.

        With an `interval`, `start` and `end` are needed.
        """
        return self._run(
            analytics_calls.decline_statistics(
                start, end, interval, account, client, currency, min_position
            )
        )

    def latency_of_projection(self, *, min_position: str = "") -> statistics.ProjectionLatency:
        """How far the read side is behind the ledger, and was over the last minutes."""
        return self._run(analytics_calls.latency_of_projection(min_position))
