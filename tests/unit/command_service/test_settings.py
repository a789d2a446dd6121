"""Settings under which a legal call could never pass are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from command_service.admission.risk.judge import OnSilence
from command_service.servicers.fields import MAX_BATCH
from command_service.settings import LEAST_BURST, CommandSettings
from paycore.domain.limits import Limit, RateLimit
from paycore.runtime.clock import SystemClock
from paycore.runtime.limits.rate import Charge
from paycore.runtime.limits.shared import SharedLimiter


def settings(client_burst: int = LEAST_BURST, **changes: Any) -> CommandSettings:
    return CommandSettings(
        environment="local",
        insecure=True,
        postgres_dsn=SecretStr("postgresql://127.0.0.1/paycore"),
        redis_url=SecretStr("redis://127.0.0.1:1"),
        signing_target="127.0.0.1:1",
        hash_key_file=Path("hash.key"),
        trail_key_file=Path("trail.key"),
        client_burst=client_burst,
        **changes,
    )


def test_a_burst_below_the_largest_call_is_refused_with_the_reason() -> None:
    assert LEAST_BURST == 1_000
    with pytest.raises(ValidationError, match="client_burst must be at least 1000: a call may"):
        settings(LEAST_BURST - 1)


async def test_the_least_burst_lets_the_largest_call_pass_without_redis() -> None:
    limit = RateLimit(0.3, settings(LEAST_BURST).client_burst)
    limiter = SharedLimiter("redis://127.0.0.1:1", SystemClock())
    assert await limiter.decide([Charge(Limit.CLIENT, "app", limit, MAX_BATCH)]) is None
    await limiter.stop()


@pytest.mark.parametrize(
    "changes", [{"risk": "remote"}, {"risk_target": "127.0.0.1:1"}, {"risk": "sometimes"}]
)
def test_risk_that_nobody_could_judge_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**changes)


def test_nobody_judges_unless_told_and_silence_refuses() -> None:
    assert settings().risk == "none"
    assert settings().risk_on_silence is OnSilence.REFUSE
    assert settings(risk="remote", risk_target="127.0.0.1:1").risk_target == "127.0.0.1:1"
