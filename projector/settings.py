"""Settings of the projector, from environment variables `PAYCORE_PROJECTOR_*`."""

from __future__ import annotations

from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from paycore.domain.stream import DEFAULT_PREFIX
from paycore.runtime.settings import DatabaseSettings, ElasticsearchSettings, is_safe_redis
from projector.webhooks.addresses import AddressRules
from projector.webhooks.schedule import SCHEDULE_S


class ProjectorSettings(DatabaseSettings, ElasticsearchSettings):
    """What the projector can be told from outside."""

    model_config = SettingsConfigDict(env_prefix="PAYCORE_PROJECTOR_", extra="ignore")

    signing_target: str
    """host:port of the signing service, which has the keys of personal data."""
    sinks: str = ""
    """Names of the sinks to feed, with commas between; empty: all that are configured."""
    page_entries: int = Field(default=4_000, ge=1, le=20_000)
    """About how many transfers, declines and accounts are read at a time."""
    bulk_documents: int = Field(default=2_500, ge=1, le=20_000)
    bulk_bytes: int = Field(default=4 * 1024 * 1024, ge=1024, le=50 * 1024 * 1024)
    bulks_in_flight: int = Field(default=2, ge=1, le=8)
    poll_active_s: float = Field(default=0.02, gt=0, le=1)
    """Between polls while there was something in the last seconds."""
    poll_idle_s: float = Field(default=0.05, gt=0, le=5)
    refresh_gap_s: float = Field(default=0.2, ge=0, le=10)
    """Shortest time between refreshes once caught up."""
    refresh_gap_behind_s: float = Field(default=1.0, ge=0, le=60)
    """Shortest time between refreshes while catching up."""
    dead_letter_limit: int = Field(default=10_000, ge=0, le=1_000_000)
    index_months_kept: int = Field(default=0, ge=0, le=1_200)
    """Months of transfers that the index keeps, with the present one; 0: all."""
    index_grace_s: float = Field(default=600.0, ge=0, le=86_400)
    """How long an index that was replaced, or is past retention, stays for those who still read
    it, in seconds. Readers go by what they were told up to 60 s ago."""
    index_reset_pause_s: float = Field(default=15.0, ge=0, le=600)
    """How long an index that was lost is told to be empty before it is there again, in seconds:
    longer than readers go by what they were told (PAYCORE_QUERY_INDEX_TOLERANCE_S)."""
    build_page: int = Field(default=4_000, ge=1, le=20_000)
    """Documents that a build of the index reads at a time."""
    check_every_s: float = Field(default=3_600.0, ge=0, le=604_800)
    """How often the index is held against the ledger; 0: only when asked."""
    check_repairs: bool = True
    """Whether such a check mends what it finds."""
    check_settled_s: float = Field(default=60.0, ge=0, le=3_600)
    """What was recorded less than so long ago is left to the next check."""
    webhook_http: bool = False
    """Whether webhooks may go to http://: only where the environment is not production."""
    webhook_networks: str = ""
    """Networks with commas between, such as `10.1.0.0/16`, to which webhooks may go besides the
    public internet."""
    webhook_refused_networks: str = ""
    """Further networks to which none goes, such as one's own public addresses; also where they are
    a part of `webhook_networks`."""
    webhook_public: bool = True
    """Whether webhooks may go to the public internet; else only to `webhook_networks`, and no name
    but localhost is looked up."""
    webhook_attempt_s: float = Field(default=10.0, ge=0.1, le=60)
    """Longest that one attempt takes."""
    webhook_at_once: int = Field(default=64, ge=1, le=1_000)
    """Attempts at the same time; at most half of them to subscriptions whose last one failed."""
    webhook_at_once_each: int = Field(default=4, ge=1, le=100)
    """Attempts at the same time for one subscription; for one whose last failed, one."""
    webhook_at_once_client: int = Field(default=32, ge=1, le=1_000)
    """Attempts at the same time for all subscriptions of one client."""
    webhook_waiting_most: int = Field(default=100_000, ge=1, le=100_000_000)
    """Deliveries of one subscription that may wait, of those written since it was last enabled;
    with more it is disabled."""
    webhook_schedule_s: tuple[float, ...] = SCHEDULE_S
    """Waits after the first failed attempt, the second and so on, in seconds, as a JSON list."""
    webhook_days_kept: float = Field(default=30.0, gt=0, le=3_650)
    """How long a delivery is kept after its end, in days."""
    stand_by_poll_s: float = Field(default=0.5, gt=0, le=30)
    """Between attempts to become the leader."""
    seal: bool = True
    """Whether the journal is sealed (docs/seal.md)."""
    redis_url: SecretStr | None = None
    """Where the stream of events is written (docs/stream.md); without it there is none. In
    production rediss://."""
    stream_prefix: str = Field(default=DEFAULT_PREFIX, pattern=r"^[a-z][a-z0-9_:-]{0,63}$")
    """What the stream's keys begin with."""
    stream_entries: int = Field(default=100_000, ge=1_000, le=10_000_000)
    """About how many of the newest events the stream keeps, at about 200 bytes each."""

    @field_validator("webhook_networks", "webhook_refused_networks")
    @classmethod
    def _networks_are_some(cls, networks: str) -> str:
        AddressRules(networks)
        return networks

    @field_validator("webhook_schedule_s")
    @classmethod
    def _schedule_is_bounded(cls, schedule_s: tuple[float, ...]) -> tuple[float, ...]:
        if len(schedule_s) > 50 or not all(0 <= wait_s <= 604_800 for wait_s in schedule_s):
            raise ValueError("at most 50 waits of 0 to 604,800 seconds")
        return schedule_s

    @model_validator(mode="after")
    def _webhooks_are_encrypted(self) -> Self:
        if self.webhook_http and self.environment == "production":
            raise ValueError("webhook_http is refused in production")
        return self

    @model_validator(mode="after")
    def _redis_is_encrypted(self) -> Self:
        if self.redis_url is None or self.environment != "production":
            return self
        if not is_safe_redis(self.redis_url.get_secret_value()):
            raise ValueError(
                "redis_url must be rediss:// in production, and must not waive the certificate"
            )
        return self
