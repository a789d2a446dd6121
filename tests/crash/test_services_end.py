"""Each service of the whole stack serves, ends in order, and comes back when it is killed."""

from __future__ import annotations

import functools
import time

import grpc
import pytest
import urllib3
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local import Endpoints, LocalStack
from deploy.local.services import SHUTDOWN_GRACE_S
from paycore.runtime.channel import open_blocking_channel

TIMEOUT_S = 30.0
BACK_WITHIN_S = 120.0


def health(endpoints: Endpoints, service: str, identity: str | None) -> int:
    target = endpoints.target(service)
    if identity is not None:
        opened = open_blocking_channel(target, endpoints.tls[identity], service=service)
    else:
        credentials = grpc.ssl_channel_credentials(endpoints.tls["app"].ca.read_bytes())
        opened = grpc.secure_channel(target, credentials, (("grpc.use_local_subchannel_pool", 1),))
    with opened as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        reply = stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
    return int(reply.status)


@pytest.mark.parametrize("service", ["command", "signing", "projector", "query"])
def test_every_service_serves_over_mutual_tls_only(services: LocalStack, service: str) -> None:
    ask = functools.partial(health, services.endpoints, service)
    # A test before may have taken from it what it needs: it looks for that again within seconds.
    give_up_s = time.monotonic() + BACK_WITHIN_S
    while ask("operator") != health_pb2.HealthCheckResponse.SERVING:
        assert time.monotonic() < give_up_s, f"{service} does not serve"
        time.sleep(0.1)
    assert ask("stranger") == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as refused:
        ask(None)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("service", ["command", "signing", "projector", "query"])
def test_every_process_serves_metrics(services: LocalStack, service: str) -> None:
    urls = services.endpoints.metrics_urls[service]

    assert len(urls) == (2 if service == "command" else 1)
    for url in urls:
        reply = urllib3.request("GET", url, timeout=TIMEOUT_S, retries=False)
        assert reply.status == 200
        assert b"# HELP" in reply.data


@pytest.mark.parametrize("service", ["signing", "projector", "query", "command"])
def test_a_killed_service_is_started_again(services: LocalStack, service: str) -> None:
    before = services.part_restarts(service)

    services.crash_part(service)
    services.wait_part(service, BACK_WITHIN_S)

    assert services.part_restarts(service) == before + 1
    found = health(services.endpoints, service, "operator")
    assert found == health_pb2.HealthCheckResponse.SERVING


def test_a_service_stopped_in_order_ends_with_code_zero_within_its_grace(
    services: LocalStack,
) -> None:
    for service in ("query", "command", "projector", "signing"):
        began = time.monotonic()
        services.stop_part(service)
        # A second later it is killed.
        assert time.monotonic() - began < SHUTDOWN_GRACE_S + 4
        assert services.part_pids(service) == ()
    for service in ("signing", "command", "projector", "query"):
        services.start_part(service)
