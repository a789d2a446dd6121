"""Settings of the projector, from environment variables `PAYCORE_PROJECTOR_*`."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from paycore.runtime.settings import DatabaseSettings, ElasticsearchSettings


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
    build_page: int = Field(default=4_000, ge=1, le=20_000)
    """Documents that a build of the index reads at a time."""
    check_every_s: float = Field(default=3_600.0, ge=0, le=604_800)
    """How often the index is held against the ledger; 0: only when asked."""
    check_repairs: bool = True
    """Whether such a check mends what it finds."""
    check_settled_s: float = Field(default=60.0, ge=0, le=3_600)
    """What was recorded less than so long ago is left to the next check."""
    stand_by_poll_s: float = Field(default=0.5, gt=0, le=30)
    """Between attempts to become the leader."""
