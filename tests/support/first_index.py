"""The index of a new stack, which its projector makes once it leads."""

from __future__ import annotations

import time

from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch

from deploy.local import Endpoints

MADE_WITHIN_S = 120.0


def await_index(endpoints: Endpoints) -> None:
    """Return once transfers can be searched. Raises TimeoutError."""
    give_up_s = time.monotonic() + MADE_WITHIN_S
    login = (endpoints.elasticsearch_user, endpoints.elasticsearch_password)
    with Elasticsearch(endpoints.elasticsearch_url, basic_auth=login) as client:
        while time.monotonic() < give_up_s:
            try:
                client.search(index=f"{endpoints.index_prefix}-transfers", size=0)
            except (ApiError, TransportError):
                time.sleep(0.1)
            else:
                return
    raise TimeoutError("the projector has not made its index")
