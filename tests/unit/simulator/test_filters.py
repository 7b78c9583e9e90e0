"""Filters and parameters: each limit on its edge, with Binance's code and words."""

import dataclasses

import pytest

from simulator import filters
from simulator.listing import LISTINGS
from simulator.orders import Ticket
from simulator.parameters import ticket_of
from simulator.refusals import Refusal
from tests.unit.simulator.engines import SYMBOL, D, engine_at

GOOD = Ticket(symbol=SYMBOL, side="BUY", type="LIMIT", quantity=D(1), client_order_id="c1", price=D(100))
LISTING = dataclasses.replace(LISTINGS[SYMBOL], max_orders=2)


def check(open_orders: int = 0, **changed: object) -> None:
    ticket = dataclasses.replace(GOOD, **changed)  # type: ignore[arg-type]  # fields by name, each of its own type
    filters.check(ticket, listing=LISTING, market=engine_at().markets[SYMBOL], open_orders=open_orders)


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"price": D("100.001")}, "PRICE_FILTER"),
        ({"price": D("7000000")}, "PRICE_FILTER"),
        ({"type": "STOP_LOSS", "price": D(0), "stop_price": D("101.001")}, "PRICE_FILTER"),
        ({"price": D("500.01")}, "PERCENT_PRICE_BY_SIDE"),
        ({"price": D("19.99")}, "PERCENT_PRICE_BY_SIDE"),
        ({"quantity": D("0.000001")}, "LOT_SIZE"),
        ({"quantity": D("1.000001")}, "LOT_SIZE"),
        ({"quantity": D("9000.00001")}, "LOT_SIZE"),
        ({"quantity": D("0.04999")}, "NOTIONAL"),
        ({"type": "MARKET", "price": D(0), "quantity": D("0.04999")}, "NOTIONAL"),
        ({"type": "MARKET", "price": D(0), "quantity": D(0), "quote_quantity": D("4.99")}, "NOTIONAL"),
        ({"open_orders": 2}, "MAX_NUM_ORDERS"),
    ],
)
def test_ticket_beyond_a_filter_is_refused_by_its_name(changed: dict[str, object], name: str) -> None:
    with pytest.raises(Refusal) as refused:
        check(**changed)  # type: ignore[arg-type]  # as above
    assert (refused.value.code, refused.value.message) == (-1013, f"Filter failure: {name}")


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"price": D(500)},
        {"price": D(20)},
        {"quantity": D("0.05")},
        {"quantity": D(9000)},
        {"type": "MARKET", "price": D(0), "quantity": D(0), "quote_quantity": D(5)},
        {"open_orders": 1},
    ],
)
def test_ticket_on_the_edge_of_a_filter_passes(changed: dict[str, object]) -> None:
    check(**changed)  # type: ignore[arg-type]  # as above


LIMIT = {
    "symbol": SYMBOL,
    "side": "BUY",
    "type": "LIMIT",
    "quantity": "1",
    "price": "100",
    "timeInForce": "GTC",
}
MARKET = {"symbol": SYMBOL, "side": "BUY", "type": "MARKET", "quantity": "1"}


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({**LIMIT, "symbol": "NOSUCH"}, -1121),
        ({**LIMIT, "symbol": ""}, -1102),
        ({**LIMIT, "side": "buy"}, -1117),
        ({**LIMIT, "type": "OCO"}, -1116),
        ({**LIMIT, "timeInForce": "DAY"}, -1115),
        ({name: value for name, value in LIMIT.items() if name != "timeInForce"}, -1102),
        ({name: value for name, value in LIMIT.items() if name != "price"}, -1102),
        ({**LIMIT, "quantity": "1e-3"}, -1100),
        ({**LIMIT, "quantity": "-1"}, -1100),
        ({**LIMIT, "quantity": "NaN"}, -1100),
        ({**LIMIT, "quantity": "١"}, -1100),
        ({**LIMIT, "quantity": "0"}, -1013),
        ({**LIMIT, "price": "100.000000001"}, -1111),
        ({**LIMIT, "newClientOrderId": "a b"}, -1100),
        ({**LIMIT, "newClientOrderId": "a" * 37}, -1100),
        ({**LIMIT, "stopPrice": "90"}, -1106),
        ({**MARKET, "price": "100"}, -1106),
        ({**MARKET, "quoteOrderQty": "100"}, -1106),
    ],
)
def test_parameter_that_is_wrong_is_refused_with_its_code(parameters: dict[str, str], code: int) -> None:
    with pytest.raises(Refusal) as refused:
        ticket_of(parameters, "generated")
    assert refused.value.code == code


def test_parameters_become_a_ticket() -> None:
    assert ticket_of({**LIMIT, "price": "100.0000000000"}, "generated") == dataclasses.replace(
        GOOD, client_order_id="generated"
    )


def test_halted_symbol_takes_no_order_and_says_so_in_its_listing() -> None:
    halted = LISTINGS["LTCUSDT"]
    ticket = dataclasses.replace(GOOD, symbol=halted.symbol)
    with pytest.raises(Refusal) as refused:
        filters.check(ticket, listing=halted, market=engine_at().markets[halted.symbol], open_orders=0)
    assert (refused.value.code, refused.value.message) == (-1013, "Market is closed.")
    assert halted.exchange_info()["status"] == "BREAK"


@pytest.mark.parametrize(("price", "is_taken"), [("0.1", True), ("0.09999", False)])
def test_minimum_price_above_one_tick_holds(price: str, is_taken: bool) -> None:
    listing = dataclasses.replace(LISTINGS["DOGEUSDT"], min_price=D("0.1"))
    ticket = dataclasses.replace(GOOD, symbol=listing.symbol, quantity=D(1000), price=D(price))
    market = engine_at().markets[listing.symbol]
    if is_taken:
        filters.check(ticket, listing=listing, market=market, open_orders=0)
    else:
        with pytest.raises(Refusal, match="PRICE_FILTER"):
            filters.check(ticket, listing=listing, market=market, open_orders=0)
