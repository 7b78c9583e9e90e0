"""Keys of the REST interface: what is kept of them, who may come in with one, and what it may do."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from api.app import create_app
from api.approvals import WordBody, _approver
from api.callers import FRESH_S, OPEN_PATHS, RIGHTS, KeyTable, check_scope, right_of
from api.errors import KeysUnavailable, NotPermitted
from domain.api_keys import (
    ID_LENGTH,
    MARK,
    RANDOM_BYTES,
    ApiKey,
    Caller,
    Scope,
    digest_of,
    find,
    id_in,
    write_key,
)
from domain.approvals import why_not_approved_by
from domain.errors import ConfigurationError, StoreUnavailable, UnknownAccount
from domain.order import TradingMode
from observability.logs import masked
from settings import Settings
from tests.factories import make_request

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
_UNREACHABLE = {"temporal_address": "127.0.0.1:1", "database_url": "postgresql://u:p@127.0.0.1:1/x"}


def make(name: str = "momentum", **fields: Any) -> tuple[ApiKey, bytes]:
    """Return a key as the ledger has it, and the key."""
    key_id, shown = write_key(secrets.token_bytes(ID_LENGTH // 2 + RANDOM_BYTES))
    values = {"scopes": {Scope.TRADE}, "accounts": None, "created_by": "cli:ann", "created_at": NOW, **fields}
    return ApiKey(key_id=key_id, name=name, digest=digest_of(shown.encode()), **values), shown.encode()


def test_a_key_has_256_random_bits_and_is_recognized_by_its_mark() -> None:
    key, shown = make()
    assert shown.startswith(MARK.encode()) and id_in(shown) == key.key_id
    assert len(shown) == len(MARK) + ID_LENGTH + 1 + 43  # 43 letters of six bits hold 256
    assert len({make()[1] for _ in range(100)}) == 100


def test_neither_the_ledgers_key_nor_a_log_line_shows_the_key() -> None:
    key, shown = make()
    secret = shown.decode().rpartition(f"{key.key_id}_")[2]
    assert secret not in repr(key) and secret not in str(key.digest)
    assert secret not in masked(f"somebody wrote {shown.decode()} here")


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, True),
        ({"expires_at": NOW + timedelta(seconds=1)}, True),
        ({"expires_at": NOW}, False),
        ({"revoked_at": NOW, "revoked_by": "cli:ann"}, False),
    ],
)
def test_a_key_counts_until_it_is_revoked_or_expires(fields: dict[str, Any], found: bool) -> None:
    key, shown = make(**fields)
    assert (find(shown, {key.key_id: key}, now=NOW) is not None) is found


def test_one_letter_off_is_no_key() -> None:
    key, shown = make()
    for wrong in (shown[:-1], shown + b"A", shown[:-1] + bytes([shown[-1] ^ 1]), b"", MARK.encode(), b"\xff" * 60):
        assert find(wrong, {key.key_id: key}, now=NOW) is None


def test_scopes_are_separate_and_each_may_read() -> None:
    assert all(Caller(scopes={scope}).may(Scope.READ) for scope in Scope)
    assert not Caller(scopes={Scope.ADMIN}).may(Scope.TRADE)
    assert not Caller(scopes={Scope.TRADE}).may(Scope.ADMIN)
    assert not Caller(scopes=frozenset()).may(Scope.READ)


def test_a_scope_of_the_gate_beyond_the_keys_accounts_is_refused() -> None:
    caller = Caller(name="momentum", accounts={"paper"})
    check_scope(caller, "account:paper")
    check_scope(caller, "key:momentum")
    for beyond in ("firm", "symbol:BTC/USDT", "strategy:momentum", "key:other"):
        with pytest.raises(NotPermitted):
            check_scope(caller, beyond)
    with pytest.raises(UnknownAccount) as refused:
        check_scope(caller, "account:live")
    assert "paper" in refused.value.what_to_do
    check_scope(Caller(), "firm")


class Ledger:
    """Keys, and how often they were read."""

    def __init__(self, *keys: ApiKey) -> None:
        self.keys = list(keys)
        self.reads = 0
        self.is_away = False

    async def usable(self) -> Sequence[ApiKey]:
        self.reads += 1
        if self.is_away:
            raise StoreUnavailable("away")
        return self.keys


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def table() -> AsyncIterator[tuple[KeyTable, Ledger, Clock, bytes]]:
    key, shown = make()
    ledger, clock = Ledger(key), Clock()
    table = KeyTable(clock=clock)
    table.read_by(ledger.usable)
    keeping = asyncio.create_task(table.keep())
    await asyncio.sleep(0)
    yield table, ledger, clock, shown
    keeping.cancel()


async def test_keys_are_not_read_before_one_is_shown_and_then_not_with_every_request(table) -> None:
    keys, ledger, _, shown = table
    assert ledger.reads == 0
    assert await keys.find(shown) == Caller(name="momentum", key_id=id_in(shown), scopes={Scope.TRADE})
    first = ledger.reads
    await asyncio.gather(*(keys.find(shown) for _ in range(100)))
    assert ledger.reads - first <= 1, "the keeper may have read once more"


async def test_a_revoked_key_is_refused_once_the_last_reading_is_a_second_old(table) -> None:
    keys, ledger, clock, shown = table
    assert await keys.find(shown)
    ledger.keys = []
    clock.now += FRESH_S
    assert await keys.find(shown) is None


async def test_a_new_key_counts_at_once(table) -> None:
    keys, ledger, clock, shown = table
    assert await keys.find(shown)
    other, new = make("other")
    ledger.keys = [*ledger.keys, other]
    clock.now += 0.2
    found = await keys.find(new)
    assert found is not None and found.name == "other"


async def test_no_key_of_the_ledger_counts_while_it_does_not_answer(table) -> None:
    keys, ledger, clock, shown = table
    assert await keys.find(shown)
    ledger.is_away = True
    clock.now += FRESH_S
    with pytest.raises(KeysUnavailable):
        await keys.find(shown)
    ledger.is_away = False
    assert await keys.find(shown)


async def test_a_key_is_not_taken_before_the_ledger_was_read() -> None:
    with pytest.raises(KeysUnavailable):
        await KeyTable().find(make()[1])


# Routes.


def routes() -> list[tuple[str, str]]:
    """Return methods and paths of every route of the application."""
    paths = create_app(Settings(**_UNREACHABLE)).openapi()["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


def test_every_route_that_changes_something_says_which_scope_it_needs() -> None:
    changing = {route for route in routes() if route[0] not in ("GET", "HEAD")}
    assert changing, "the routes are looked for in the wrong place"
    assert {route for route in changing if route not in RIGHTS} == set()
    assert set(RIGHTS) <= set(routes())
    reading = {route for route, right in RIGHTS.items() if right.scope is Scope.READ and route[0] != "GET"}
    assert reading == {("POST", "/orders/validate"), ("POST", "/risk/simulate"), ("POST", "/risk/try")}
    assert right_of("PUT", "/new").scope is Scope.ADMIN


async def ask(app: Any, method: str, path: str, **headers: str) -> httpx2.Response:
    """Ask the whole application, with an empty object where it takes a body."""
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8002") as client:
        body = b"{}" if method in ("POST", "PATCH") else None
        kind = {"Content-Type": "application/json"} if body else {}
        return await client.request(method, path, content=body, headers={**kind, **headers})


class AnyTime:
    """A clock by which every reading of the keys is old."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 2 * FRESH_S
        return self.now


def application(monkeypatch: pytest.MonkeyPatch, ledger: Ledger, **settings: Any) -> Any:
    """Return the application with this ledger of keys behind it, and of its other parts the settings alone."""
    keys = KeyTable(clock=AnyTime())
    keys.read_by(ledger.usable)
    monkeypatch.setattr("api.app.KeyTable", lambda: keys)
    accounts = {name: {"exchange": "binanceus"} for name in ("alpha", "beta")}
    own = Settings(**_UNREACHABLE, accounts=accounts, default_exchange="alpha", **settings)
    app = create_app(own)
    app.state.context = SimpleNamespace(settings=own)
    return app


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return how the application that needs keys is asked with one."""
    ledger = Ledger()
    app = application(monkeypatch, ledger, api_keys_required=True)

    async def asking(key: tuple[ApiKey, bytes], method: str, path: str) -> httpx2.Response:
        ledger.keys = [key[0]]
        return await ask(app, method, path, **{"X-API-Key": key[1].decode()})

    return asking


_FILLED = {"exchange": "alpha", "order_id": "a" * 16, "case_id": "1", "kind": "fills", "symbol": "BTC/USDT"}


@pytest.mark.parametrize(("method", "path"), sorted(route for route in routes() if route[1] not in OPEN_PATHS))
async def test_every_route_is_closed_without_its_scope_and_without_a_key(serve, method: str, path: str) -> None:
    scope = right_of(method, path).scope
    wrong = {Scope.TRADE: Scope.ADMIN, Scope.ADMIN: Scope.TRADE}.get(scope)
    where = path
    for name, value in _FILLED.items():
        where = where.replace(f"{{{name}}}", value)
    if wrong is not None:
        answer = await serve(make(scopes={wrong}), method, where)
        assert (answer.status_code, answer.json()["code"]) == (403, "API_KEY_NOT_PERMITTED"), answer.text
    answer = await serve(make(revoked_at=NOW, revoked_by="ann"), method, where)
    assert (answer.status_code, answer.json()["code"]) == (401, "API_KEY_WRONG")
    if "{exchange}" in path:
        answer = await serve(make(scopes=set(Scope), accounts={"beta"}), method, where)
        assert (answer.status_code, answer.json()["code"]) == (404, "ACCOUNT_UNKNOWN"), answer.text
        assert "alpha" not in answer.json()["what_to_do"]
    elif not right_of(method, path).minds_accounts:
        answer = await serve(make(scopes=set(Scope), accounts={"beta"}), method, where)
        assert (answer.status_code, answer.json()["code"]) == (403, "API_KEY_NOT_PERMITTED"), answer.text


async def test_a_key_for_some_accounts_is_shown_no_other(serve) -> None:
    answer = await serve(make(scopes={Scope.READ}, accounts={"beta"}), "GET", "/exchanges")
    assert answer.json()["available_exchanges"] == ["beta"]


def test_the_configurations_key_is_none_of_the_ledgers() -> None:
    with pytest.raises(ConfigurationError, match="every scope"):
        create_app(Settings(**_UNREACHABLE, api_key=make()[1].decode()))


async def test_named_key_also_says_who_calls_where_none_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    key, shown = make(accounts={"beta"})
    app = application(monkeypatch, Ledger(key))
    named = {"X-API-Key": shown.decode()}
    assert (await ask(app, "GET", "/exchanges")).json()["available_exchanges"] == ["alpha", "beta"]
    assert (await ask(app, "GET", "/exchanges", **named)).json()["available_exchanges"] == ["beta"]
    assert (await ask(app, "GET", "/exchanges", **{"X-API-Key": shown.decode()[:-1]})).status_code == 401
    assert (await ask(app, "GET", "/exchanges", **{"X-API-Key": "of another place"})).status_code == 200


async def test_two_keys_that_differ_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    key, shown = make()
    app = application(monkeypatch, Ledger(key), api_keys_required=True)
    text = shown.decode()
    assert (await ask(app, "GET", "/exchanges", **{"X-API-Key": text, "Authorization": f"Bearer {text}"})).is_success
    both = {"X-API-Key": text, "Authorization": "Bearer other"}
    assert (await ask(app, "GET", "/exchanges", **both)).status_code == 401


async def test_every_answer_has_the_security_headers_and_none_allows_other_sites(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = application(monkeypatch, Ledger())
    for method, path in (("GET", "/exchanges"), ("GET", "/docs"), ("GET", "/nothing"), ("POST", "/orders/x/y/z")):
        headers = (await ask(app, method, path)).headers
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
        assert headers["cache-control"] == "no-store" and "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "strict-transport-security" not in headers and "server" not in headers
    preflight = {"Origin": "http://127.0.0.1:8002", "Access-Control-Request-Method": "POST"}
    answer = await ask(app, "OPTIONS", "/orders", **preflight)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_no_address_is_ever_taken_from_a_request() -> None:
    """Nothing that we would fetch, connect to or read can be named by a caller."""
    document = create_app(Settings(**_UNREACHABLE)).openapi()
    names: set[str] = set()
    for methods in document["paths"].values():
        for operation in methods.values():
            names |= {parameter["name"].lower() for parameter in operation.get("parameters", ())}
            for content in operation.get("requestBody", {}).get("content", {}).values():
                names |= set(content["schema"].get("properties", {}))
    assert {"symbol", "amount", "because"} <= names, "the fields are looked for in the wrong place"
    words = ("url", "uri", "host", "callback", "webhook", "path", "file", "address", "server")
    assert not [name for name in names if any(word in name for word in words)]


@pytest.mark.parametrize(
    ("caller", "required", "approver", "refusal"),
    [
        (Caller(name="jo"), True, "jo", None),
        (Caller(name="momentum"), True, "momentum", "who asked for an order cannot approve it"),
        (Caller(key_id="API_KEY"), True, "rest", "an approval needs the name of who approves"),
        (Caller(), False, "somebody else", None),
    ],
)
def test_who_approves_is_the_key_and_not_what_the_caller_says(
    caller: Caller, required: bool, approver: str, refusal: str | None
) -> None:
    body = WordBody(because="fits", by="somebody else")
    context: Any = SimpleNamespace(settings=Settings(**_UNREACHABLE, api_keys_required=required))
    request = make_request().model_copy(update={"requested_by": "momentum"})
    order = request.new_order(exchange="binanceus", mode=TradingMode.PAPER)
    by = _approver(caller, body, context)
    assert by == approver
    assert why_not_approved_by(order, by) == refusal
