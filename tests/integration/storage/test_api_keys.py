"""API keys in the ledger: made, revoked, never changed otherwise; and the whole of an entrance over them."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from api.app import create_app
from domain.api_keys import NewKey, Scope, digest_of, find
from domain.errors import KeyNameTaken, KeyNotFound
from settings import Settings
from storage.api_keys import SqlApiKeys

NOW = datetime.now(UTC)


@pytest.fixture
def keys(engine: AsyncEngine) -> SqlApiKeys:
    return SqlApiKeys(engine)


def wanted(name: str = "momentum", **fields: Any) -> NewKey:
    return NewKey(**{"name": name, "scopes": {Scope.TRADE}, "created_by": "cli:ann", **fields})


async def test_a_key_is_kept_by_its_digest_and_found_again(keys: SqlApiKeys, engine: AsyncEngine) -> None:
    made, shown = await keys.create(wanted(accounts={"paper"}, expires_at=NOW + timedelta(days=1)))
    (kept,) = await keys.usable()
    assert kept == made and kept.digest == digest_of(shown.encode()) and kept.accounts == {"paper"}
    caller = find(shown.encode(), {kept.key_id: kept}, now=NOW)
    assert caller is not None and (caller.name, caller.scopes) == ("momentum", {Scope.TRADE})
    async with engine.connect() as connection:
        row = (await connection.execute(text("SELECT api_keys::text FROM api_keys"))).scalar_one()
    assert shown.rpartition("_")[2] not in row


async def test_a_name_in_use_is_taken_unless_the_key_is_rotated(keys: SqlApiKeys) -> None:
    first, _ = await keys.create(wanted())
    with pytest.raises(KeyNameTaken, match=first.key_id):
        await keys.create(wanted())
    second, _ = await keys.create(wanted(), rotate=True)
    assert {key.key_id for key in await keys.usable()} == {first.key_id, second.key_id}
    await keys.revoke("momentum", by="cli:bob", because="a drill")
    await keys.create(wanted())


async def test_a_name_is_given_once_however_many_ask_at_once(keys: SqlApiKeys) -> None:
    asked = await asyncio.gather(*(keys.create(wanted()) for _ in range(10)), return_exceptions=True)
    assert len(await keys.usable()) == 1
    assert sum(isinstance(answer, KeyNameTaken) for answer in asked) == 9


async def test_revoking_says_who_and_why_and_happens_once(keys: SqlApiKeys) -> None:
    made, _ = await keys.create(wanted())
    (revoked,) = await keys.revoke(made.key_id, by="cli:bob", because="the laptop is lost")
    assert (revoked.revoked_by, revoked.revoked_because) == ("cli:bob", "the laptop is lost")
    assert revoked.revoked_at is not None and await keys.usable() == []
    with pytest.raises(KeyNotFound):
        await keys.revoke(made.key_id, by="cli:eve", because="again")
    assert [key.revoked_by for key in await keys.listed()] == ["cli:bob"]


@pytest.mark.parametrize(
    "tampering",
    [
        "DELETE FROM api_keys",
        "TRUNCATE api_keys",
        "UPDATE api_keys SET scopes = '{admin}'",
        "UPDATE api_keys SET accounts = NULL",
        "UPDATE api_keys SET expires_at = NULL",
        "UPDATE api_keys SET digest = sha256('x'), revoked_at = now(), revoked_by = 'x'",
        "UPDATE api_keys SET revoked_at = NULL, revoked_by = NULL",
    ],
)
@pytest.mark.parametrize("is_revoked", [False, True])
async def test_the_database_refuses_to_change_or_delete_a_key(
    keys: SqlApiKeys, engine: AsyncEngine, tampering: str, is_revoked: bool
) -> None:
    made, _ = await keys.create(wanted(accounts={"paper"}, expires_at=NOW))
    if is_revoked:
        await keys.revoke(made.key_id, by="cli:bob", because="a drill")
    before = await keys.listed()
    with pytest.raises(DBAPIError, match="API key"):
        async with engine.begin() as connection:
            await connection.execute(text(tampering))
    assert await keys.listed() == before


@pytest.fixture
async def entrances(database_url: str) -> AsyncIterator[list[httpx2.AsyncClient]]:
    """Two REST interfaces of one ledger, whose Temporal is away."""
    nowhere = {"urls": {"api": {"public": "http://127.0.0.1:1/api/v3"}}}
    settings = Settings(
        temporal_address="127.0.0.1:1",
        database_url=database_url,
        api_keys_required=True,
        accounts={"binanceus": {"exchange": "binanceus", "ccxt": nowhere}},
    )
    apps = [create_app(settings) for _ in range(2)]
    async with apps[0].router.lifespan_context(apps[0]), apps[1].router.lifespan_context(apps[1]):
        yield [httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://127.0.0.1") for app in apps]


async def test_a_revoked_key_is_refused_everywhere_within_a_second(
    keys: SqlApiKeys, entrances: list[httpx2.AsyncClient]
) -> None:
    made, shown = await keys.create(wanted())

    async def statuses() -> list[int]:
        headers = {"X-API-Key": shown}
        return [(await rest.get("/orders/binanceus", headers=headers)).status_code for rest in entrances]

    assert await statuses() == [200, 200], "a new key counts at once"
    await keys.revoke(made.key_id, by="cli:ann", because="a drill")
    revoked_at = time.monotonic()
    while await statuses() != [401, 401]:
        assert time.monotonic() - revoked_at < 1.0
        await asyncio.sleep(0.05)


async def test_a_key_acts_by_its_name_whatever_the_caller_says(
    keys: SqlApiKeys, entrances: list[httpx2.AsyncClient]
) -> None:
    shown = {name: (await keys.create(wanted(name, scopes={scope})))[1] for name, scope in
             (("ops", Scope.ADMIN), ("momentum", Scope.TRADE))}  # fmt: skip

    async def ask(name: str, method: str, path: str, **body: Any) -> Any:
        answer = await entrances[0].request(method, path, json=body, headers={"X-API-Key": shown[name]})
        return answer.status_code, answer.json()

    limits = {"scope": "key:momentum", "limits": {"max_open_orders": 3}, "because": "small"}
    status, told = await ask("ops", "PATCH", "/risk/limits", **limits, requested_by="somebody else")
    assert status == 200, told
    versions = (await entrances[0].get("/risk/limits/versions", headers={"X-API-Key": shown["ops"]})).json()
    assert versions[0]["changed_by"] == "ops"
    status, told = await ask("momentum", "POST", "/risk/kill", scope="key:momentum", reason="a drill", by="the boss")
    assert (status, told["engaged_by"]) == (200, "momentum")
    status, told = await ask("momentum", "POST", "/risk/kill/lift", scope="key:momentum", because="enough")
    assert (status, told["code"]) == (403, "API_KEY_NOT_PERMITTED")
    status, told = await ask("ops", "POST", "/risk/kill/lift", scope="key:momentum", because="enough", by="me")
    assert status == 202
    status, told = await ask("ops", "POST", "/risk/kill/lift", scope="key:momentum", confirm=told["confirm"], by="me")
    assert (status, told["by"]) == (200, "ops")
