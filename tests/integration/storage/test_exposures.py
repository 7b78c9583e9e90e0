"""What scopes hold and work: taken, moved and released with the order, and at any time the sum of the facts."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from domain.errors import NotAmendable
from domain.limits import Limits
from domain.numbers import plain
from domain.order import OrderSide, OrderType
from domain.reports import VenueOrderStatus
from domain.risk import Answer
from storage import gate
from storage.exposure_audit import audit
from tests.factories import NOW, make_fill, make_report, make_request
from tests.integration.storage.conftest import ACCOUNT, Life, Rows
from tests.integration.storage.test_amendment import amend

SCOPES = {"firm", "account:binanceus", "symbol:BTC/USDT", "strategy:momentum", "key:test"}


async def held(rows: Rows, scope: str = "account:binanceus") -> dict[str, str]:
    [row] = await rows("SELECT * FROM exposures WHERE scope = :scope", scope=f"sandbox/{scope}")
    names = ("traded", "amount", "working_buy", "working_sell", "buy_notional", "sell_notional", "open_orders")
    return {name: plain(value) if isinstance(value := row._mapping[name], Decimal) else str(value) for name in names}


async def test_every_scope_of_an_order_counts_it_from_admission_to_its_end(
    life: Life, rows: Rows, engine: AsyncEngine
) -> None:
    await life.fund(USDT="1000")
    order = await life.resting(strategy="momentum")
    scopes = {row.scope for row in await rows("SELECT scope FROM exposures")}
    assert scopes == {f"sandbox/{scope}" for scope in SCOPES}
    assert (await held(rows))["working_buy"] == "0.1" and (await held(rows, "firm"))["open_orders"] == "1"
    assert (await held(rows))["buy_notional"] == "10"

    part = make_fill("1", last_qty=Decimal("0.04"), commission=Decimal("0.0001"))
    report = make_report(cum_qty=Decimal("0.04"))
    await life.store.record_report(ACCOUNT, order.order_id, report, trades=[part], now=NOW)
    assert await audit(engine) == []
    half = await held(rows, "strategy:momentum")
    assert (half["traded"], half["amount"], half["working_buy"], half["buy_notional"]) == (
        "0.04",
        "0.0399",
        "0.06",
        "6",
    )

    over = make_report(cum_qty=Decimal("0.04"), status=VenueOrderStatus.CANCELED)
    await life.store.record_report(ACCOUNT, order.order_id, over, trades=[part], now=NOW)
    await life.store.finalize(ACCOUNT, order.order_id, now=NOW)
    end = await held(rows)
    assert (end["traded"], end["working_buy"], end["buy_notional"], end["open_orders"]) == ("0.04", "0", "0", "0")
    assert await audit(engine) == []


async def test_amended_order_counts_at_the_worse_of_old_and_new(life: Life, rows: Rows, engine: AsyncEngine) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()

    await amend(life.store, order, "0.3", "90")
    assert (await held(rows))["working_buy"] == "0.3" and (await held(rows))["buy_notional"] == "27"
    assert await audit(engine) == []


async def test_amendment_is_held_to_the_limits_without_what_the_order_counted_before(life: Life) -> None:
    await life.fund(USDT="1000")
    order = await life.resting()
    await life.limit(max_position_quantity={"BTC/USDT": "0.35"}, max_open_orders=1, max_orders_per_day=1)
    with pytest.raises(NotAmendable, match="POSITION_QUANTITY_ABOVE_LIMIT"):
        await amend(life.store, order, "0.36", "90")
    assert (await amend(life.store, order, "0.35", "90")).amend_quantity == Decimal("0.35")


CASES: list[tuple[dict[str, Any], dict[str, Any], int, str]] = [
    ({"max_position_quantity": {"BTC/USDT": "0.3"}}, {}, 3, "POSITION_QUANTITY_ABOVE_LIMIT"),
    ({"max_position_notional": "30"}, {}, 3, "POSITION_NOTIONAL_ABOVE_LIMIT"),
    ({"max_gross_exposure": "30"}, {}, 3, "GROSS_EXPOSURE_ABOVE_LIMIT"),
    ({"max_net_exposure": "30"}, {}, 3, "NET_EXPOSURE_ABOVE_LIMIT"),
    ({"max_open_orders": 3}, {}, 3, "OPEN_ORDERS_ABOVE_LIMIT"),
    ({"max_orders_per_day": 3}, {}, 3, "ORDER_RATE_ABOVE_LIMIT"),
    ({"max_turnover_per_day": "30"}, {}, 3, "TURNOVER_ABOVE_LIMIT"),
    ({"duplicate_window_s": 86400}, {}, 1, "DUPLICATE_ORDER"),
    ({"denied_symbols": ("BTC/USDT",)}, {}, 0, "SYMBOL_DENIED"),
    ({"approval_above_notional": "9"}, {}, 0, "APPROVAL_REQUIRED"),
]


OTHERS = ("firm", "symbol:BTC/USDT", "strategy:momentum", "key:test")


@pytest.mark.parametrize(
    ("limits", "ticket", "admitted", "code", "scope"),
    [(*case, None) for case in CASES] + [(*CASES[number % 2 * 5], scope) for number, scope in enumerate(OTHERS)],
)
async def test_limit_of_every_scope_holds_to_the_last_unit(
    life: Life,
    engine: AsyncEngine,
    limits: dict[str, Any],
    ticket: dict[str, Any],
    admitted: int,
    code: str,
    scope: str | None,
) -> None:
    await life.fund(USDT="1000")
    await life.limit(scope=scope, **limits)
    requests = [make_request(f"k{n}", strategy="momentum", **ticket) for n in range(5)]
    today = {"requested_at": datetime.now(UTC)}
    answers = [await life.admit(request.model_copy(update=today)) for request in requests]
    assert [answer.answer is Answer.ALLOW for answer in answers] == [True] * admitted + [False] * (5 - admitted)
    assert {answer.reason.code for answer in answers[admitted:] if answer.reason} == {code}
    assert all(answer.reason.numbers for answer in answers[admitted:] if answer.reason)
    assert await audit(engine) == []


async def test_shadow_limit_is_recorded_and_does_not_hold(life: Life, rows: Rows) -> None:
    await life.fund(USDT="1000")
    admission = await life.admit(make_request(), max_order_notional="9", shadow=("max_order_notional",))
    assert admission.answer is Answer.ALLOW
    [row] = await rows("SELECT evidence::text AS evidence FROM order_events")
    finding = json.loads(row.evidence)[0]
    assert (finding["answer"], finding["shadow"], finding["numbers"]["notional"]) == ("DENY", True, "10")


async def test_order_that_reduces_passes_the_limits_of_opening(life: Life, engine: AsyncEngine) -> None:
    await life.fund(USDT="1000", BTC="1")
    order = await life.resting()
    report = make_report(cum_qty=Decimal("0.1"), status=VenueOrderStatus.CLOSED)
    await life.store.record_report(ACCOUNT, order.order_id, report, trades=[make_fill(commission=None)], now=NOW)
    await life.limit(max_position_notional="1", max_daily_loss="0", max_turnover_per_day="1", max_net_exposure="0")
    sell = await life.admit(make_request("sell", side=OrderSide.SELL))
    assert sell.answer is Answer.ALLOW, sell.reason
    more = await life.admit(make_request("more", side=OrderSide.SELL))
    assert more.reason is not None and more.answer is not Answer.ALLOW, "with the first it would go short"
    assert await audit(engine) == []


async def test_orders_that_would_trade_with_each_other_are_denied(life: Life) -> None:
    await life.fund(USDT="1000", BTC="1")
    await life.limit(forbid_self_trade=True)
    assert (await life.admit(make_request("sell", side=OrderSide.SELL, price=Decimal(101)))).answer is Answer.ALLOW
    assert (await life.admit(make_request("below", price=Decimal(100)))).answer is Answer.ALLOW
    for key, ticket in (("at", {"price": Decimal(101)}), ("mkt", {"order_type": OrderType.MARKET, "price": None})):
        crossing = await life.admit(make_request(key, **ticket))
        assert crossing.reason is not None and crossing.reason.code == "SELF_TRADE"


async def test_sleeping_stop_blocks_nobody_and_is_blocked_by_nobody(life: Life) -> None:
    await life.fund(USDT="1000", BTC="1")
    await life.limit(forbid_self_trade=True)
    stop = {"side": OrderSide.SELL, "order_type": OrderType.STOP, "price": None, "trigger_price": Decimal(90)}
    assert (await life.admit(make_request("stop", **stop))).answer is Answer.ALLOW
    assert (await life.admit(make_request("buy", price=Decimal(101)))).answer is Answer.ALLOW
    assert (await life.admit(make_request("stop too", **stop))).answer is Answer.ALLOW


async def test_window_of_a_rate_slides(
    life: Life, rows: Rows, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "FORGET_EVERY", 1)
    await life.fund(USDT="1000")
    await life.limit(max_orders_per_minute=2)
    for key, allowed in (("a", True), ("b", True), ("c", False)):
        assert ((await life.admit(make_request(key))).answer is Answer.ALLOW) is allowed
    async with engine.begin() as connection:
        await connection.exec_driver_sql(
            "UPDATE admissions SET admitted_at = admitted_at - interval '61 s' WHERE number = 1"
        )
    assert (await life.admit(make_request("d"))).answer is Answer.ALLOW
    assert (await life.admit(make_request("e"))).answer is Answer.DENY
    assert [row.number for row in await rows("SELECT number FROM admissions ORDER BY number")] == [2, 3]


def test_limits_say_what_is_wrong_with_them() -> None:
    with pytest.raises(ValueError, match="no limit"):
        Limits(shadow=("max_ordr",))
    with pytest.raises(ValueError, match="write money as text"):
        Limits(max_order_notional=0.5)  # type: ignore[arg-type]  # the point of the test
    assert timedelta(seconds=Limits(duplicate_window_s=5).duplicate_window_s or 0) == timedelta(seconds=5)
