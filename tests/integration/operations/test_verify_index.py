"""The index is held against the ledger, after waiting for it to catch up."""

from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest
from elasticsearch import AsyncElasticsearch

from deploy.local import Endpoints
from operations.verify import Check, IndexAddress, verify_ledger
from operations.verify.verify import INDEX_RULE
from tests.integration.operations.small_ledger import PAID, SmallLedger


@pytest.fixture(scope="module")
async def projected(endpoints: Endpoints) -> AsyncIterator[SmallLedger]:
    """A small ledger in the database that the stack's projector follows."""
    connection = await asyncpg.connect(endpoints.postgres_admin_dsn, database="paycore")
    ledger = SmallLedger(connection, endpoints.postgres_dsn["paycore_audit"])
    await ledger.fill()
    yield ledger
    await connection.close()


@pytest.fixture
def address(endpoints: Endpoints) -> IndexAddress:
    return IndexAddress(
        endpoints.elasticsearch_url,
        endpoints.elasticsearch_user,
        endpoints.elasticsearch_password,
        endpoints.index_prefix,
    )


@pytest.fixture
async def elasticsearch(address: IndexAddress) -> AsyncIterator[AsyncElasticsearch]:
    client = AsyncElasticsearch(address.url, basic_auth=(address.user, address.password))
    yield client
    await client.close()


async def compare(endpoints: Endpoints, address: IndexAddress) -> Check:
    report = await verify_ledger(endpoints.postgres_dsn["paycore_audit"], index=address)
    return report.check(INDEX_RULE)


async def test_an_index_that_caught_up_agrees(
    projected: SmallLedger, endpoints: Endpoints, address: IndexAddress
) -> None:
    check = await compare(endpoints, address)
    assert check.held
    assert check.examined == 4


async def test_a_changed_document_is_found(
    projected: SmallLedger,
    endpoints: Endpoints,
    address: IndexAddress,
    elasticsearch: AsyncElasticsearch,
) -> None:
    await compare(endpoints, address)
    index = f"{address.prefix}-transfers"
    found = await elasticsearch.search(index=index, query={"ids": {"values": [str(PAID)]}})
    [hit] = found["hits"]["hits"]
    index, stored = hit["_index"], hit["_source"]
    changed = {**stored, "amount_limb0": stored["amount_limb0"] + 1}
    await elasticsearch.index(index=index, id=str(PAID), document=changed, refresh=True)
    check = await compare(endpoints, address)
    await elasticsearch.index(index=index, id=str(PAID), document=stored, refresh=True)
    assert check.first_violation == {
        "state": "TRANSFER", "currency": "EUR",
        "ledger_count": 2, "ledger_sum": 500, "index_count": 2, "index_sum": 501,
    }  # fmt: skip


async def test_a_missing_document_is_found(
    projected: SmallLedger,
    endpoints: Endpoints,
    address: IndexAddress,
    elasticsearch: AsyncElasticsearch,
) -> None:
    await compare(endpoints, address)
    index = f"{address.prefix}-transfers"
    found = await elasticsearch.search(index=index, query={"ids": {"values": [str(PAID)]}})
    [hit] = found["hits"]["hits"]
    index, stored = hit["_index"], hit["_source"]
    await elasticsearch.delete(index=index, id=str(PAID), refresh=True)
    check = await compare(endpoints, address)
    await elasticsearch.index(index=index, id=str(PAID), document=stored, refresh=True)
    assert not check.held
    assert check.first_violation is not None
    assert check.first_violation["index_count"] == 1


async def test_an_index_that_does_not_catch_up_is_a_violation(
    projected: SmallLedger, endpoints: Endpoints, address: IndexAddress
) -> None:
    check = await compare(endpoints, replace(address, prefix="elsewhere", wait_s=0.3))
    assert not check.held
    assert check.first_violation is not None
    assert "after 0.3 s" in str(check.first_violation["behind"])


async def test_what_has_no_address_is_said_to_be_left_out(
    projected: SmallLedger, endpoints: Endpoints
) -> None:
    report = await verify_ledger(endpoints.postgres_dsn["paycore_audit"])
    assert len(report.skipped) == 2
