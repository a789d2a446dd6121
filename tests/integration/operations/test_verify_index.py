"""The index is held against the ledger, after waiting for it to catch up."""

from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from elasticsearch import AsyncElasticsearch

from deploy.local import Endpoints
from operations.verify import Check, IndexAddress, verify_ledger
from operations.verify.verify import INDEX_RULE
from tests.integration.operations.small_ledger import PAID, SmallLedger
from tests.integration.projector.conftest import Running
from tests.integration.query_service.readers.conftest import projector_settings
from tests.support.databases import OwnDatabase, own_database


@pytest.fixture(scope="module")
async def projected(endpoints: Endpoints, template: str) -> AsyncIterator[OwnDatabase]:
    """The database of a small ledger that a projector follows."""
    with own_database(endpoints, template) as database:
        connection = await asyncpg.connect(database.admin_dsn)
        signer = Ed25519PrivateKey.generate()
        await SmallLedger(connection, database.dsn("audit"), signer).fill()
        await connection.close()
        projector = Running(projector_settings(database))
        yield database
        await projector.stop()
        async with AsyncElasticsearch(
            endpoints.elasticsearch_url,
            basic_auth=(endpoints.elasticsearch_user, endpoints.elasticsearch_password),
        ) as client:
            for made in await client.indices.get(index=f"{database.name}-*"):
                await client.indices.delete(index=made)


@pytest.fixture
def address(projected: OwnDatabase) -> IndexAddress:
    endpoints = projected.endpoints
    return IndexAddress(
        endpoints.elasticsearch_url,
        endpoints.elasticsearch_user,
        endpoints.elasticsearch_password,
        projected.name,
    )


@pytest.fixture
async def elasticsearch(address: IndexAddress) -> AsyncIterator[AsyncElasticsearch]:
    client = AsyncElasticsearch(address.url, basic_auth=(address.user, address.password))
    yield client
    await client.close()


async def compare(projected: OwnDatabase, address: IndexAddress) -> Check:
    report = await verify_ledger(projected.dsn("audit"), index=address)
    return report.check(INDEX_RULE)


async def test_an_index_that_caught_up_agrees(
    projected: OwnDatabase, address: IndexAddress
) -> None:
    check = await compare(projected, address)
    assert check.held
    assert check.examined == 4


async def test_a_changed_document_is_found(
    projected: OwnDatabase,
    address: IndexAddress,
    elasticsearch: AsyncElasticsearch,
) -> None:
    await compare(projected, address)
    index = f"{address.prefix}-transfers"
    found = await elasticsearch.search(index=index, query={"ids": {"values": [str(PAID)]}})
    [hit] = found["hits"]["hits"]
    index, stored = hit["_index"], hit["_source"]
    changed = {**stored, "amount_limb0": stored["amount_limb0"] + 1}
    await elasticsearch.index(index=index, id=str(PAID), document=changed, refresh=True)
    check = await compare(projected, address)
    await elasticsearch.index(index=index, id=str(PAID), document=stored, refresh=True)
    assert check.first_violation == {
        "state": "TRANSFER", "currency": "EUR",
        "ledger_count": 2, "ledger_sum": 500, "index_count": 2, "index_sum": 501,
    }  # fmt: skip


async def test_a_missing_document_is_found(
    projected: OwnDatabase,
    address: IndexAddress,
    elasticsearch: AsyncElasticsearch,
) -> None:
    await compare(projected, address)
    index = f"{address.prefix}-transfers"
    found = await elasticsearch.search(index=index, query={"ids": {"values": [str(PAID)]}})
    [hit] = found["hits"]["hits"]
    index, stored = hit["_index"], hit["_source"]
    await elasticsearch.delete(index=index, id=str(PAID), refresh=True)
    check = await compare(projected, address)
    await elasticsearch.index(index=index, id=str(PAID), document=stored, refresh=True)
    assert not check.held
    assert check.first_violation is not None
    assert check.first_violation["index_count"] == 1


async def test_an_index_that_does_not_catch_up_is_a_violation(
    projected: OwnDatabase, address: IndexAddress
) -> None:
    check = await compare(projected, replace(address, prefix="elsewhere", wait_s=0.3))
    assert not check.held
    assert check.first_violation is not None
    assert "after 0.3 s" in str(check.first_violation["behind"])


async def test_what_has_no_address_is_said_to_be_left_out(
    projected: OwnDatabase,
) -> None:
    report = await verify_ledger(projected.dsn("audit"))
    assert len(report.skipped) == 2
