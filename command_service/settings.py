"""What the command service can be told from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from command_service.admission.few_at_once import AT_ONCE
from command_service.admission.risk.judge import OnSilence
from command_service.servicers.fields import MAX_BATCH
from paycore.runtime.settings import DatabaseSettings, RedisSettings, read_key

LEAST_BURST = MAX_BATCH
"""Less would refuse the largest call for ever."""


class CommandSettings(DatabaseSettings, RedisSettings):
    """Environment variables PAYCORE_COMMAND_*."""

    model_config = SettingsConfigDict(env_prefix="PAYCORE_COMMAND_", extra="ignore")

    signing_target: str
    """host:port of the signing service."""
    hash_key_file: Path
    """File with 32 random bytes in hex: the key of request and details hashes."""
    trail_key_file: Path
    """File with 32 random bytes in hex: the key of the hints in security events. Whoever looks for
    a device or an address in these has it too."""
    processes: int = Field(default=1, ge=1, le=64)
    """Processes that share the port."""
    queue_limit: int = Field(default=20_000, ge=2 * MAX_BATCH)
    """Commands that may wait in one process; one client's fill at most half of it."""
    batch_limit: int = Field(default=500, ge=1, le=5_000)
    """Commands in one posting transaction."""
    batches_in_flight: int = Field(default=2, ge=1, le=16)
    """Posting transactions at once in one process."""
    client_rate_per_s: float = Field(default=100_000.0, gt=0)
    """Commands per second of one client, over all processes, where `limits_file` says nothing."""
    client_burst: int = 200_000
    """Commands of one client that may come at once; at least LEAST_BURST."""
    limits_file: Path | None = None
    """TOML table of limits by client and method, as paycore.runtime.limits.table describes it."""
    risk: Literal["none", "rules", "remote"] = "none"
    """Who judges payments before they are posted: nobody, the table ledger.risk_rules, or the
    service at `risk_target`."""
    risk_target: str | None = None
    """host:port of a paycore.risk.v1.RiskService."""
    risk_on_silence: OnSilence = OnSilence.REFUSE
    """What becomes of a payment on which there is no verdict in time."""
    risk_timeout_ms: int = Field(default=250, ge=1, le=10_000)
    """Longest that one question about risk takes."""
    risk_at_once: int = Field(default=256, ge=AT_ONCE)
    """Payments that one process has judged at the same time; beyond it callers get OVERLOADED."""

    webhook_http: bool = False
    """Whether endpoints of webhooks may be http://; refused in production."""

    @model_validator(mode="after")
    def _webhooks_are_encrypted(self) -> Self:
        if self.webhook_http and self.environment == "production":
            raise ValueError("webhook_http is refused in production")
        return self

    @model_validator(mode="after")
    def _largest_call_passes(self) -> Self:
        if self.client_burst < LEAST_BURST:
            raise ValueError(
                f"client_burst must be at least {LEAST_BURST}: a call may carry as many commands"
            )
        return self

    @model_validator(mode="after")
    def _remote_risk_has_an_address(self) -> Self:
        if (self.risk == "remote") is not (self.risk_target is not None):
            raise ValueError("risk_target goes with risk=remote, and risk=remote with risk_target")
        return self

    def hash_key(self) -> bytes:
        """The key in `hash_key_file`. Raises ValueError when it is not 32 bytes in hex."""
        return read_key(self.hash_key_file)

    def trail_key(self) -> bytes:
        """The key in `trail_key_file`. Raises as `hash_key`."""
        return read_key(self.trail_key_file)
