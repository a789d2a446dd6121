"""Which sinks there are, and how each is made from the settings."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from paycore.runtime.clock import Clock
from paycore.runtime.elastic import ElasticAddress
from projector.details import Opener
from projector.errors import UnknownSinkError
from projector.readiness import Readiness
from projector.settings import ProjectorSettings
from projector.sinks import Sink
from projector.sinks.elastic import NAME as ELASTICSEARCH
from projector.sinks.elastic import ElasticSettings, ElasticSink
from projector.sinks.elastic_upkeep import UpkeepSettings
from projector.sinks.seal import NAME as SEAL
from projector.sinks.seal import SealSink
from projector.sinks.stream import NAME as STREAM
from projector.sinks.stream import StreamSettings, StreamSink
from projector.sinks.webhooks import NAME as WEBHOOKS
from projector.sinks.webhooks import WebhookSettings, WebhookSink
from projector.webhooks.deliverer import DelivererSettings
from projector.webhooks.room import Shares
from projector.webhooks.secrets import KeysById

MakeSink: TypeAlias = Callable[[Readiness], Sink[Any]]
"""Makes a sink for one session."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What sinks share of their process."""

    opener: Opener
    clock: Clock
    chance: random.Random
    keys: KeysById
    """Of what is sealed."""


def sinks(settings: ProjectorSettings, parts: Parts) -> Mapping[str, MakeSink]:
    """The sinks that are to run: those named in the settings, else all that are configured.

    Raises UnknownSinkError for a name that is none's, or that of one which is not configured.
    """
    configured: dict[str, MakeSink] = {
        ELASTICSEARCH: partial(_elastic, elastic_settings(settings), parts),
        WEBHOOKS: partial(_webhooks, webhook_settings(settings), parts),
    }
    if settings.seal:
        configured[SEAL] = partial(_seal, parts)
    if settings.redis_url is not None:
        url = settings.redis_url.get_secret_value()
        stream = StreamSettings(url, settings.stream_prefix, settings.stream_entries)
        configured[STREAM] = partial(_stream, stream, parts)
    names = [name.strip() for name in settings.sinks.split(",") if name.strip()]
    for name in names:
        if name not in configured:
            raise UnknownSinkError(f"no sink {name!r} is configured; there are: {list(configured)}")
    return {name: configured[name] for name in names} or configured


def elastic_settings(settings: ProjectorSettings) -> ElasticSettings:
    """The part of `settings` that the search index needs."""
    return ElasticSettings(
        address=ElasticAddress.of(settings),
        prefix=settings.index_prefix,
        bulk_documents=settings.bulk_documents,
        bulk_bytes=settings.bulk_bytes,
        bulks_in_flight=settings.bulks_in_flight,
        refresh_gap_s=settings.refresh_gap_s,
        refresh_gap_behind_s=settings.refresh_gap_behind_s,
        months_kept=settings.index_months_kept,
        grace_s=settings.index_grace_s,
        reset_pause_s=settings.index_reset_pause_s,
        upkeep=UpkeepSettings(
            check_every_s=settings.check_every_s,
            check_repairs=settings.check_repairs,
            settled_s=settings.check_settled_s,
            build_page=settings.build_page,
        ),
    )


def webhook_settings(settings: ProjectorSettings) -> WebhookSettings:
    """The part of `settings` that webhooks need."""
    return WebhookSettings(
        DelivererSettings(
            attempt_s=settings.webhook_attempt_s,
            shares=Shares(
                settings.webhook_at_once,
                settings.webhook_at_once_client,
                settings.webhook_at_once_each,
            ),
            waiting_most=settings.webhook_waiting_most,
            schedule_s=settings.webhook_schedule_s,
            kept_s=settings.webhook_days_kept * 86_400.0,
        ),
        networks=settings.webhook_networks,
        refused_networks=settings.webhook_refused_networks,
        public=settings.webhook_public,
        http=settings.webhook_http,
    )


def _webhooks(settings: WebhookSettings, parts: Parts, readiness: Readiness) -> Sink[Any]:
    return WebhookSink(settings, parts.keys, parts.clock, readiness, parts.chance)


def _elastic(settings: ElasticSettings, parts: Parts, readiness: Readiness) -> Sink[Any]:
    return ElasticSink(settings, parts.opener, parts.clock, readiness, parts.chance)


def _seal(parts: Parts, readiness: Readiness) -> Sink[Any]:
    return SealSink(parts.clock)


def _stream(settings: StreamSettings, parts: Parts, readiness: Readiness) -> Sink[Any]:
    return StreamSink(settings, parts.clock, readiness, parts.chance)
