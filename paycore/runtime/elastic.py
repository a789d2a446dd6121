"""The way to Elasticsearch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from elasticsearch import AsyncElasticsearch

from paycore.runtime.settings import ElasticsearchSettings


@dataclass(frozen=True, slots=True)
class ElasticAddress:
    """Where Elasticsearch is, and how each knows the other."""

    url: str
    user: str
    """Empty: no credentials are sent."""
    password: str = field(repr=False)
    ca: Path | None = None
    """PEM file of the authority to trust; None for the system's own."""

    @classmethod
    def of(cls, settings: ElasticsearchSettings) -> Self:
        """The address that `settings` name."""
        return cls(
            settings.elasticsearch_url,
            settings.elasticsearch_user,
            settings.elasticsearch_password.get_secret_value(),
            settings.elasticsearch_ca,
        )


def open_client(
    address: ElasticAddress, *, connections: int, request_timeout_s: float
) -> AsyncElasticsearch:
    """A client that never retries: that is its caller's business. Close it at the end.

    Raises OSError when the authority's file cannot be read.
    """
    trust: dict[str, Any] = {} if address.ca is None else {"ca_certs": str(address.ca)}
    return AsyncElasticsearch(
        address.url,
        basic_auth=(address.user, address.password) if address.user else None,
        connections_per_node=connections,
        request_timeout=request_timeout_s,
        max_retries=0,
        retry_on_timeout=False,
        **trust,
    )
