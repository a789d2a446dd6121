"""Webhooks by both clients and on the command line have the same methods."""

from __future__ import annotations

import inspect

from paycore.client.asynchronous import PaycoreClient
from paycore.client.blocking import BlockingPaycoreClient
from paycore.client.blocking_webhooks import BlockingWebhooks
from paycore.client.webhooks import WebhookMethods


def methods(kind: type) -> dict[str, list[str]]:
    return {
        name: list(inspect.signature(method).parameters)
        for name, method in vars(kind).items()
        if callable(method) and not name.startswith("_")
    }


def test_both_clients_have_the_same_methods() -> None:
    assert methods(BlockingWebhooks) == methods(WebhookMethods)
    assert len(methods(BlockingWebhooks)) == 8
    assert issubclass(PaycoreClient, WebhookMethods)
    assert issubclass(BlockingPaycoreClient, BlockingWebhooks)
