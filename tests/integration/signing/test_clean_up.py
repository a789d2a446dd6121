"""Clean-up goes on after whatever PostgreSQL says."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from signing_service import clean_up
from tests.integration.signing.signer import WRONG, Signer, payment

REFUSE_DELETION = """
CREATE FUNCTION signing.refuse_deletion() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'unforeseen'; END $$;
CREATE TRIGGER refuse_deletion BEFORE DELETE ON signing.attempts
    FOR EACH ROW EXECUTE FUNCTION signing.refuse_deletion();
"""


async def test_clean_up_outlives_an_unforeseen_error(
    signer: Signer, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clean_up, "EVERY_S", 0.02)
    await signer.enrol("user-1")
    await signer.refusal(signer.question("user-1", WRONG, payment()))
    await owner.execute("UPDATE signing.attempts SET fresh_until_us = 0")
    await owner.execute(REFUSE_DELETION)
    with pytest.raises(asyncpg.RaiseError):
        await clean_up.clean_up(signer.store)
    cleaning = asyncio.create_task(clean_up.keep_clean(signer.store))
    await asyncio.sleep(0.2)
    assert not cleaning.done()
    await owner.execute("DROP TRIGGER refuse_deletion ON signing.attempts")
    async with asyncio.timeout(10):
        while await owner.fetchval("SELECT count(*) FROM signing.attempts"):
            await asyncio.sleep(0.02)
    cleaning.cancel()
    await asyncio.gather(cleaning, return_exceptions=True)
