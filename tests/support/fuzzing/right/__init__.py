"""Right requests of every method: each as a caller makes it who means it."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.fuzzing.right.analysing import ANALYSING
from tests.support.fuzzing.right.limits import LIMITS
from tests.support.fuzzing.right.money import MONEY
from tests.support.fuzzing.right.reading import READING
from tests.support.fuzzing.right.signing import SIGNING
from tests.support.fuzzing.right.webhooks import WEBHOOKS
from tests.support.fuzzing.right.world import Right

RIGHT: Mapping[str, Right] = {**ANALYSING, **LIMITS, **MONEY, **READING, **SIGNING, **WEBHOOKS}
"""By service and method, without the package."""
