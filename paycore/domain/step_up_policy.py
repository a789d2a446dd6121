"""When a payer must approve: the policy of one currency.

"Above" is strictly above: an amount equal to a threshold needs no approval.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

DAY_US = 86_400 * 1_000_000
"""A day of UTC, in microseconds."""


class StepUpRule(StrEnum):
    """Which rule of policy asks for the payer's approval."""

    NO_POLICY = "NO_POLICY"
    """The currency has no policy."""
    THRESHOLD = "THRESHOLD"
    FIRST_PAYMENT = "FIRST_PAYMENT"
    DAILY_TOTAL = "DAILY_TOTAL"


@dataclass(frozen=True, slots=True)
class StepUpPolicy:
    """Amounts in minor units of one currency, above each of which a payer must approve.

    Of a group they are compared with what a payer pays by all of it (PSD2 RTS article 5(3)(b)): a
    payment cut into pieces is one payment.
    """

    threshold: int
    """For a payment."""
    first_payment_threshold: int | None = None
    """For payments to one payee that the payer has not paid before; None for no such rule."""
    daily_total: int | None = None
    """For all that leaves an account, or is held to leave it, in a day of UTC without approval, the
    payment at hand included; None for no such rule.

    The exemption of low values (PSD2 RTS article 16) counts what was paid since the last approval.
    This counts the day, and is not reset by an approval: that was for one payment, and says nothing
    of others. What the payer approved, and what exempt clients paid, is not counted. A hold counts
    when it is set, and its capture no more; what is released, refunded or reversed stays counted.
    """

    @property
    def hangs_on_past(self) -> bool:
        """Whether there are payments for which it must be known what the payer paid before."""
        return self.first_payment_threshold is not None or self.daily_total is not None

    def asks_for_payee(self, amount: int) -> bool:
        """Whether `amount` is such that the payee must have been paid before."""
        return self.first_payment_threshold is not None and amount > self.first_payment_threshold

    def limit(self, rule: StepUpRule) -> int | None:
        """The amount that `rule` compares with, in minor units."""
        match rule:
            case StepUpRule.NO_POLICY:
                return None
            case StepUpRule.THRESHOLD:
                return self.threshold
            case StepUpRule.FIRST_PAYMENT:
                return self.first_payment_threshold
            case StepUpRule.DAILY_TOTAL:
                return self.daily_total


def day_of(time_us: int) -> int:
    """The day of UTC of a time in microseconds since 1970, as days since 1970."""
    return time_us // DAY_US
