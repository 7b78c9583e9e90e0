"""Hostile requests against a whole stack of real processes: first without rights, then with some and nothing right.

    python -m tests.campaign hostile --requests 20000

Without rights nothing may change. With rights the only orders in the ledger are those that an answer names.
"""

import asyncio
import contextlib
import random
import secrets as random_secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from domain.api_keys import NewKey, Scope
from simulator.running import API_KEY, SECRET_KEY
from storage.api_keys import SqlApiKeys
from storage.database import open_engine
from tests.campaign.hostile.corpus import KEY_LINE, Corpus, Shot
from tests.campaign.hostile.generated import generated
from tests.campaign.hostile.judge import JUSTIFIED, Verdict, look
from tests.faults.floor import Floor

ANSWER_TIMEOUT_S: Final = 60
CALLERS: Final = 16
WITHOUT_RIGHTS: Final = ("none", "wrong", "cut", "expired", "revoked", "elsewhere", "reader", "empty", "long")
WITH_RIGHTS: Final = ("trader", "operator")
_UNTOUCHED: Final = ("POST /orders/validate", "POST /risk/simulate", "POST /risk/try")


async def run(
    floor: Floor,
    *,
    seed: int,
    count: int,
    share_of_document: float = 0.25,
    api_url: str | None = None,
    patience_s: float = ANSWER_TIMEOUT_S,
) -> dict[str, Any]:
    """Send about `count` requests, and return the report; `violations` is empty when all is well.

    Parameters
    ----------
    share_of_document
        Share of the requests that is made from the OpenAPI document.
    patience_s
        How long a body that never comes whole is waited with.
    api_url
        Another REST interface of the same ledger than the floor's own.
    """
    url, dice, began = api_url or floor.stack.ready["api"], random.Random(seed), time.monotonic()
    document = (await floor.rest.get("/openapi.json")).json()
    keys = await _make_keys(floor)
    verdict, secrets = Verdict(), _secrets(floor, keys)
    shots = {
        names: _shots(document, dice, names, count // 2, share_of_document) for names in (WITHOUT_RIGHTS, WITH_RIGHTS)
    }
    made_s = time.monotonic() - began
    before = await look(floor)
    await _fire(url, shots[WITHOUT_RIGHTS], keys, verdict, secrets, patience_s)
    after = await look(floor)
    verdict.compare(before, after, untouched=_UNTOUCHED)
    verdict.done = Counter()
    verdict.orders_told = set()
    await _fire(url, shots[WITH_RIGHTS], keys, verdict, secrets, patience_s)
    final = await look(floor)
    if unnamed := final.orders - after.orders - verdict.orders_told:
        verdict.violations.append(f"orders that no answer has named: {sorted(unnamed)[:5]}")
    await _tidy(floor, before.orders)
    return {
        "seed": seed,
        "seconds": round(time.monotonic() - began, 1),
        "seconds_to_make": round(made_s, 1),
        **verdict.report(),
        "orders_with_rights": len(final.orders - after.orders),
        "secrets_looked_for": len(secrets),
    }


def _shots(
    document: Mapping[str, Any], dice: random.Random, keys: Sequence[str], count: int, share: float
) -> list[Shot]:
    """Mix what the document leads to with our own corpus; without rights, changing routes more often than others."""
    routes = [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]
    spoiled = keys is WITH_RIGHTS
    changing = [] if spoiled else [route for route in routes if route[0] != "GET"]
    shots = generated(document, dice, keys, routes, int(count * share)) if share else []
    corpus = Corpus(dice, [*routes, *changing, *changing], keys, spoiled=spoiled)
    shots += [corpus.shot() for _ in range(count - len(shots))]
    dice.shuffle(shots)
    return shots[:count]


async def _make_keys(floor: Floor) -> dict[str, bytes]:
    """Make a key of each kind in the ledger; names of former runs are rotated."""
    engine = open_engine(floor.stack.ready["database"], application_name="hostile", pool_size=1)
    keys = SqlApiKeys(engine)
    every = frozenset(Scope)
    late = datetime.now(UTC) - timedelta(seconds=1)
    wanted: dict[str, dict[str, Any]] = {
        "trader": {"scopes": {Scope.TRADE}, "accounts": {"binanceus"}},
        "operator": {"scopes": {Scope.ADMIN}},
        "reader": {"scopes": {Scope.READ}},
        "elsewhere": {"scopes": every, "accounts": {"elsewhere"}},
        "expired": {"scopes": every, "expires_at": late},
        "revoked": {"scopes": every},
    }
    shown: dict[str, bytes] = {}
    try:
        for name, fields in wanted.items():
            _, key = await keys.create(NewKey(name=name, created_by="hostile", **fields), rotate=True)
            shown[name] = key.encode()
        await keys.revoke("revoked", by="hostile", because="a campaign")
    finally:
        await engine.dispose()
    await asyncio.sleep(0.5)  # what was read before is older than what counts for a new key
    wrong = f"vlx_{random_secrets.token_hex(4)}_{random_secrets.token_urlsafe(32)}".encode()
    return {**shown, "none": b"", "wrong": wrong, "cut": shown["operator"][:-1], "empty": b" ", "long": b"k" * 9000}


def _secrets(floor: Floor, keys: Mapping[str, bytes]) -> dict[str, bytes]:
    own = {name: key for name, key in keys.items() if key.startswith(b"vlx_")}
    password = urlsplit(floor.stack.ready["database"]).password
    venue = {"the venue's key": API_KEY.encode(), "the venue's secret": SECRET_KEY.encode()}
    return {**own, **venue, **({"the ledger's password": password.encode()} if password and len(password) > 7 else {})}


async def _fire(
    url: str,
    shots: Sequence[Shot],
    keys: Mapping[str, bytes],
    verdict: Verdict,
    secrets: Mapping[str, bytes],
    patience_s: float,
) -> None:
    address, left = urlsplit(url), iter(shots)

    async def call() -> None:
        for shot in left:
            line = b"X-API-Key: " + keys[shot.key] + b"\r\n" if shot.key != "none" else b""
            began = time.monotonic()
            patience = patience_s if shot.what == "smuggled" else ANSWER_TIMEOUT_S
            raw = shot.raw.replace(KEY_LINE, line, 1)
            answer = await _say(address.hostname or "", address.port or 0, raw, patience)
            if not answer and patience < ANSWER_TIMEOUT_S:
                verdict.statuses["not waited for"] += 1
                continue
            verdict.judge(shot, answer, secrets)
            verdict.took(shot, time.monotonic() - began)

    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(call())


async def _say(host: str, port: int, raw: bytes, patience_s: float) -> bytes:
    """Send a request and return the whole answer; empty when the connection was closed, or we gave up, without one."""
    reader, writer = await asyncio.open_connection(host, port)
    answer = b""
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(raw)
            await writer.drain()
        async with asyncio.timeout(patience_s):
            with contextlib.suppress(ConnectionError):
                while chunk := await reader.read(65536):
                    answer += chunk
    except TimeoutError:
        if patience_s >= ANSWER_TIMEOUT_S:
            answer = answer or b"HTTP/1.1 599 no answer\r\n\r\n"
    finally:
        writer.close()
    return answer.removeprefix(b"HTTP/1.1 100 \r\n\r\n").removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")


async def _tidy(floor: Floor, spare: frozenset[str]) -> None:
    """Leave no switch on that a request with rights has pulled, and no order but those to be spared."""
    for switch in (await floor.rest.get("/risk/kill")).json():
        asked = await floor.rest.post("/risk/kill/lift", json={"scope": switch["scope"], "because": "tidy"})
        if asked.status_code == 202:
            confirm = {"scope": switch["scope"], "confirm": asked.json()["confirm"]}
            await floor.rest.post("/risk/kill/lift", json=confirm)
    for order in (await floor.rest.get("/orders/binanceus", params={"status": "open", "limit": 500})).json():
        if order["id"] not in spare:
            await floor.rest.delete(f"/orders/binanceus/{order['id']}")
    for deadman in (await floor.rest.get("/risk/deadman")).json():
        await floor.rest.post("/risk/deadman/disarm", json={"scope": deadman["scope"]})


__all__ = ["JUSTIFIED", "run"]
