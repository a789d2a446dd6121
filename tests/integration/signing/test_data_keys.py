"""Data keys: one in force for each subject, and none once it is destroyed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import asyncpg
import grpc
import pytest

from paycore.domain.errors import PaycoreError, Reason
from paycore.runtime.database import open_pool
from paycore.runtime.pools import PoolName
from paycore.signing.v1 import data_key_service_pb2 as pb
from paycore.signing.v1 import data_key_service_pb2_grpc as pb_grpc
from signing_service.data_key_store import DataKeyStore, NewKey, StoredKey
from signing_service.data_keys import ATTEMPTS, DataKeys, KeyState
from signing_service.keystore.key_ring import KeyRing
from signing_service.keystore.port import KeyPurpose
from signing_service.transactions import Transactions
from tests.support.callers import refusal_of
from tests.support.counted import counted
from tests.support.data_key_server import DataKeyServer, data_key_server
from tests.support.databases import OwnDatabase

DONE = ("made", "destroyed")


@pytest.fixture
async def transactions(signing_dsn: str) -> AsyncIterator[Transactions]:
    pool = await open_pool(signing_dsn, size=8, name=PoolName.SIGNING, application="data-keys-test")
    yield Transactions(pool)
    pool.terminate()


@pytest.fixture
def store(transactions: Transactions) -> DataKeyStore:
    return DataKeyStore(transactions)


@pytest.fixture
def data_keys(store: DataKeyStore, keys: KeyRing) -> DataKeys:
    return DataKeys(store, keys)


async def test_a_subject_has_one_key_whoever_asks_and_however_many_at_once(
    store: DataKeyStore, keys: KeyRing
) -> None:
    processes = [DataKeys(store, keys) for _ in range(4)]
    subjects = [f"user-{number}" for number in range(20)]
    asked = await asyncio.gather(
        *(process.create(subjects[::step]) for process in processes for step in (1, -1))
    )
    forwards, backwards = asked[::2], [made[::-1] for made in asked[1::2]]
    assert all(made == forwards[0] for made in (*forwards, *backwards))
    assert (
        len({key.key_id for key in forwards[0]}) == len({key.secret for key in forwards[0]}) == 20
    )
    assert {len(key.secret) for key in forwards[0]} == {32}


async def test_only_what_is_wrapped_is_stored(
    data_keys: DataKeys, owner: asyncpg.Connection
) -> None:
    (key,) = await data_keys.create(["ada"])
    row = await owner.fetchrow("SELECT * FROM signing.data_keys")
    assert key.secret not in row["wrapped"]
    assert row["id"] == key.key_id
    assert str(key.secret) not in repr(key)


async def test_a_destroyed_key_is_gone_and_known_as_destroyed(
    data_keys: DataKeys, owner: asyncpg.Connection
) -> None:
    (key,) = await data_keys.create(["ada"])
    (other,) = await data_keys.create(["bob"])
    assert await data_keys.destroy("ada") == [key.key_id]
    assert await data_keys.destroy("ada") == [key.key_id]
    found = await data_keys.unwrap([key.key_id, other.key_id, 17])
    assert [one.state for one in found] == [
        KeyState.DESTROYED, KeyState.IN_FORCE, KeyState.UNKNOWN
    ]  # fmt: skip
    assert [one.secret for one in found] == [b"", other.secret, b""]
    (new,) = await data_keys.create(["ada"])
    assert new.key_id != key.key_id
    assert await data_keys.destroy("ada") == sorted([key.key_id, new.key_id])
    left = await owner.fetch("SELECT subject FROM signing.data_keys")
    assert [row["subject"] for row in left] == ["bob"]


async def test_keys_are_had_while_others_destroy_them(store: DataKeyStore, keys: KeyRing) -> None:
    ended = asyncio.Event()
    of_bob = set()

    async def make(process: DataKeys) -> None:
        while not ended.is_set():
            ada, bob = await process.create(["ada", "bob"])
            assert (ada.state, bob.state) == (KeyState.IN_FORCE, KeyState.IN_FORCE)
            of_bob.add(bob.key_id)

    async def destroy(process: DataKeys) -> None:
        while len(await process.destroy("ada")) < 50:
            pass
        ended.set()

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(make(DataKeys(store, keys)))
        group.create_task(destroy(DataKeys(store, keys)))
    assert len(of_bob) == 1


class Overtaken(DataKeyStore):
    """Others make a key first and destroy it before it is read, as often as `times`."""

    def __init__(self, transactions: Transactions, times: int) -> None:
        super().__init__(transactions)
        self.times = times

    async def add(self, keys: Sequence[NewKey]) -> dict[str, StoredKey]:
        if self.times == 0:
            return await super().add(keys)
        self.times -= 1
        assert len(await super().add([key._replace(key_id=key.key_id - 1) for key in keys])) == 1
        assert await super().add(keys) == {}
        for key in keys:
            await self.destroy(key.subject)
        return {}


async def test_a_key_that_others_make_and_destroy_is_made_anew_but_not_for_ever(
    transactions: Transactions, keys: KeyRing
) -> None:
    store = Overtaken(transactions, times=ATTEMPTS - 1)
    (key,) = await DataKeys(store, keys).create(["ada"])
    assert (key.state, store.times) == (KeyState.IN_FORCE, 0)
    with pytest.raises(PaycoreError) as refused:
        await DataKeys(Overtaken(transactions, times=ATTEMPTS), keys).create(["bob"])
    assert refused.value.reason is Reason.CONTENTION


async def test_what_is_made_and_destroyed_is_counted_once(
    store: DataKeyStore, keys: KeyRing
) -> None:
    processes = [DataKeys(store, keys) for _ in range(4)]
    before = {done: counted("paycore_signing_data_keys_total", done=done) for done in DONE}
    await asyncio.gather(*(process.create(["ada", "bob"]) for process in processes))
    for process in processes:
        await process.destroy("ada")
    after = {done: counted("paycore_signing_data_keys_total", done=done) for done in DONE}
    assert {done: after[done] - before[done] for done in DONE} == {"made": 2, "destroyed": 1}


async def test_a_key_that_was_moved_to_another_subject_does_not_unwrap(
    data_keys: DataKeys, owner: asyncpg.Connection
) -> None:
    ada, bob = await data_keys.create(["ada", "bob"])
    await owner.execute("ALTER TABLE signing.data_keys DISABLE TRIGGER never_changed")
    await owner.execute(
        "UPDATE signing.data_keys SET wrapped ="
        " (SELECT wrapped FROM signing.data_keys WHERE subject = 'bob') WHERE subject = 'ada'"
    )
    found = await data_keys.unwrap([ada.key_id, bob.key_id])
    assert [one.state for one in found] == [KeyState.UNKNOWN, KeyState.IN_FORCE]


async def test_keys_that_an_older_wrapping_key_wrapped_still_unwrap(
    store: DataKeyStore, keys: KeyRing
) -> None:
    (key,) = await DataKeys(store, keys).create(["ada"])
    rotated = DataKeys(store, keys.rotated(KeyPurpose.WRAPPING, now_us=2))
    assert await rotated.unwrap([key.key_id]) == [key]
    assert await rotated.create(["ada"]) == [key]


@pytest.fixture
async def server(database: OwnDatabase) -> AsyncIterator[DataKeyServer]:
    async with data_key_server(database) as server:
        yield server


ALLOWED = {
    "command": {"CreateDataKeys", "UnwrapDataKeys", "DestroyDataKeys"},
    "projector": {"UnwrapDataKeys"},
    "query": {"UnwrapDataKeys"},
    # To read the devices and addresses that security events seal.
    "operator": {"UnwrapDataKeys"},
}
REQUESTS = {
    "CreateDataKeys": pb.CreateDataKeysRequest(subjects=["ada"]),
    "UnwrapDataKeys": pb.UnwrapDataKeysRequest(key_ids=[1]),
    "DestroyDataKeys": pb.DestroyDataKeysRequest(subject="ada"),
}


async def test_only_those_services_may_call_that_need_to(server: DataKeyServer) -> None:
    allowed: dict[str, set[str]] = {}
    for identity in server.endpoints.tls:
        async with server.channel(identity) as channel:
            stub = pb_grpc.DataKeyServiceStub(channel)
            for name, request in REQUESTS.items():
                refusal = await refusal_of(getattr(stub, name)(request, timeout=5))
                if refusal is None:
                    allowed.setdefault(identity, set()).add(name)
                else:
                    assert refusal.code is grpc.StatusCode.PERMISSION_DENIED, (identity, name)
    assert allowed == ALLOWED


@pytest.mark.parametrize(
    ("name", "request_", "field"),
    [
        ("CreateDataKeys", pb.CreateDataKeysRequest(), "subjects"),
        ("CreateDataKeys", pb.CreateDataKeysRequest(subjects=["a", "a"]), "subjects"),
        ("CreateDataKeys", pb.CreateDataKeysRequest(subjects=["a", "b\n"]), "subjects[1]"),
        ("CreateDataKeys", pb.CreateDataKeysRequest(subjects=map(str, range(1_001))), "subjects"),
        ("UnwrapDataKeys", pb.UnwrapDataKeysRequest(), "key_ids"),
        ("UnwrapDataKeys", pb.UnwrapDataKeysRequest(key_ids=[5, 5]), "key_ids"),
        ("UnwrapDataKeys", pb.UnwrapDataKeysRequest(key_ids=range(1_001)), "key_ids"),
        ("DestroyDataKeys", pb.DestroyDataKeysRequest(), "subject"),
        ("DestroyDataKeys", pb.DestroyDataKeysRequest(subject="x" * 129), "subject"),
    ],
)
async def test_what_is_malformed_is_refused(
    server: DataKeyServer, name: str, request_: object, field: str
) -> None:
    async with server.channel() as channel:
        call = getattr(pb_grpc.DataKeyServiceStub(channel), name)
        refusal = await refusal_of(call(request_, timeout=5))
    assert refusal is not None
    assert (refusal.reason, refusal.fields) == (Reason.INVALID_FIELD, [field])
