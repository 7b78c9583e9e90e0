"""The answers of the REST interface in front of the whole stack, held to their examples: names, order, JSON types.

What changes from run to run (ids, times, prices) is compared by type, the rest by value. `golden/` holds the
examples; `GOLDEN_WRITE=1 pytest …` writes them anew. Orders are held to the examples in `tests/unit/golden` too.
"""

import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
import pytest_asyncio

from embedded.stack import EmbeddedStack, StackOptions

GOLDEN: Final = Path(__file__).parent / "golden"
OF_ORDERS: Final = Path(__file__).parents[1] / "unit" / "golden"
GROWING: Final = ("health", "status")
"""These tell what there is to tell: further names may stand between those of the example."""
VARYING: Final = {
    "last", "bid", "ask", "volume", "average", "cost", "current_price", "entry_price", "unrealized_pnl", "free", "used",
    "total", "reserved", "markets_count", "latency_ms", "clock_skew_ms", "rate_budget_used", "fees", "rate_budgets",
    "seq", "attempts", "limit", "window_s",
}  # fmt: skip
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_ID: Final = re.compile(r"\b[a-f][0-9a-f]{15}\b|\b[0-9]{1,10}\b(?=$)")
ORDER: Final = {"symbol": "BTC/USDT", "side": "buy", "amount": 0.001}
PLACED: Final = {
    "market-filled": {"order_type": "market"},
    "limit-open": {
        "order_type": "limit", "price": 50000, "post_only": True, "strategy": "momentum", "client_reference": "agent-7",
    },
    "stop-open-at-venue": {"order_type": "stop", "side": "sell", "stop_price": 30000},
    "stop-limit": {"order_type": "stop-limit", "side": "sell", "stop_price": 30000, "price": 29000},
}  # fmt: skip


class Number(str):
    """A JSON number as it was written."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def rest(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the REST interface of a stack with one paper account, which has bought something."""
    folder: Path = tmp_path_factory.mktemp("examples")
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o001)
    options = StackOptions(data_dir=folder / "data", environ={"PATH": os.environ["PATH"]})
    async with (
        EmbeddedStack(options) as stack,
        httpx2.AsyncClient(base_url=stack.ready["api"], timeout=70) as client,
    ):
        bought = await client.post("/orders?wait=final", json={**ORDER, "order_type": "market"})
        assert bought.status_code == 201, bought.text
        yield client


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("health", "/health"),
        ("exchanges", "/exchanges"),
        ("status", "/exchanges/binanceus/status"),
        ("ticker", "/ticker/binanceus/BTC/USDT"),
        ("balance", "/balance/binanceus?currency=USDT"),
        ("positions", "/positions/binanceus"),
        ("problem-no-symbol", "/ticker/binanceus/BTCUSDT"),
        ("problem-no-account", "/balance/binance"),
        ("problem-no-order", "/orders/binanceus/aaaaaaaaaaaaaaaa"),
    ],
)
async def test_answer_is_as_in_its_example(rest: httpx2.AsyncClient, name: str, path: str) -> None:
    answer = await rest.get(path)
    problem = name.startswith("problem-")
    assert answer.status_code == (404 if problem else 200)
    assert answer.headers["content-type"] == f"application/{'problem+' if problem else ''}json"
    compare(name, answer.text)


async def test_balances_are_a_list_of_what_one_currency_is_answered_with(rest: httpx2.AsyncClient) -> None:
    entries = read((await rest.get("/balance/binanceus")).text)
    one = read((GOLDEN / "balance.json").read_text("ascii"))
    assert entries and all(typed(entry) == typed(one) for entry in entries)


@pytest.mark.parametrize("name", PLACED)
async def test_placed_order_of_each_type_has_the_names_and_types_of_its_example(
    rest: httpx2.AsyncClient, name: str
) -> None:
    answer = await rest.post("/orders", json={**ORDER, **PLACED[name]})
    assert answer.status_code == 201, answer.text
    order, listed = read(answer.text), read((await rest.get("/orders/binanceus")).text)
    example = read((OF_ORDERS / f"{name if name != 'stop-limit' else 'stop-open-at-venue'}.json").read_text("ascii"))
    expected = {**typed(example), **({"price": "number"} if name == "stop-limit" else {})}
    nullable = {"closed_at"}
    assert list(order) == list(example)
    assert {k: v for k, v in typed(order).items() if k not in nullable} == {
        k: v for k, v in expected.items() if k not in nullable
    }
    assert next(one for one in listed if one["id"] == order["id"]).keys() == order.keys()


@pytest.mark.parametrize(
    ("name", "change", "status"),
    [
        ("problem-denied", {"order_type": "limit", "price": 50000, "amount": 0.00001}, 422),
        ("problem-wrong-field", {"order_type": "limit", "price": "50000"}, 422),
        ("problem-price-missing", {"order_type": "limit"}, 422),
    ],
)
async def test_refused_order_is_a_problem_as_in_its_example(
    rest: httpx2.AsyncClient, name: str, change: dict[str, Any], status: int
) -> None:
    answer = await rest.post("/orders", json={**ORDER, **change})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    compare(name, answer.text)


def read(text: str) -> Any:
    """Read JSON; a number stays as it was written, and stays apart from text."""
    return json.loads(text, parse_float=Number, parse_int=Number)


def typed(value: Any) -> Any:
    """Return the JSON type of each part of a value, names in their order."""
    if isinstance(value, dict):
        return {name: typed(part) for name, part in value.items()}
    if isinstance(value, list):
        return [typed(value[0])] if value else []
    if isinstance(value, Number):
        return "number"
    if isinstance(value, str):
        return "time" if _TIME.fullmatch(value) else "text"
    return type(value).__name__


def steady(value: Any, name: str = "") -> Any:
    """Return a value with what changes from run to run replaced by its type."""
    if name in VARYING:
        return typed(value)
    if isinstance(value, dict):
        return {key: steady(part, key) for key, part in value.items()}
    if isinstance(value, list):
        return [steady(part) for part in value]
    if isinstance(value, Number):
        return {"number": str(value)}
    if isinstance(value, str):
        return "<time>" if _TIME.fullmatch(value) else _ID.sub("<id>", value)
    return value


def compare(name: str, text: str) -> None:
    """Hold an answer to its example."""
    file = GOLDEN / f"{name}.json"
    if os.environ.get("GOLDEN_WRITE"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text.replace(',"', ',\n"') + "\n", "ascii")
    answer, example = read(text), read(file.read_text("ascii"))
    if name in GROWING:
        answer = _as_far_as(answer, example)
    told = f"{file.name}: if it is meant, write it anew with GOLDEN_WRITE=1"
    assert steady(answer) == steady(example), told
    assert json.dumps(steady(answer)) == json.dumps(steady(example)), f"the order of names; {told}"


def _as_far_as(answer: Any, example: Any) -> Any:
    """Return an answer without the names that its example does not know."""
    if not isinstance(example, dict) or not isinstance(answer, dict):
        return answer
    return {name: _as_far_as(part, example[name]) for name, part in answer.items() if name in example}
