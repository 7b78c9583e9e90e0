"""What things are worth: rates over the marks there are, fees at the trade's price, and None for what is not known."""

from decimal import Decimal

import pytest

from domain.order import TradingMode
from domain.valuation import (
    Held,
    Mark,
    Needed,
    Rates,
    commission_value,
    conversions,
    equity_of,
    to_ask,
)
from tests.factories import NOW, make_fill

EQUAL = ("USDT", "USD", "USDC")


def mark(symbol: str, bid: str | None, ask: str | None = None, last: str | None = None) -> Mark:
    """A market as told by a venue."""
    figures = {"bid": bid, "ask": ask, "last": last}
    return Mark.model_validate({"symbol": symbol, "asked_at": NOW, **figures})


@pytest.mark.parametrize(
    ("bid", "ask", "last", "price"),
    [
        ("99", "101", "90", "100"),
        ("99", None, "90", "90"),
        ("99", None, None, "99"),
        (None, "101", None, "101"),
        ("0", "101", "90", "90"),
        (None, None, None, None),
        (None, None, "0", None),
    ],
)
def test_a_mark_is_worth_the_middle_or_the_last_or_the_side_there_is(
    bid: str | None, ask: str | None, last: str | None, price: str | None
) -> None:
    assert mark("BTC/USDT", bid, ask, last).price == (Decimal(price) if price is not None else None)


@pytest.mark.parametrize(
    ("asset", "currency", "rate"),
    [
        ("USDT", "USDT", "1"),
        ("USDC", "USD", "1"),
        ("BTC", "USDT", "100"),
        ("BTC", "USD", "100"),
        ("USDT", "BTC", "0.01"),
        ("ETH", "USDC", "5"),
        ("ETH", "EUR", None),
        ("XYZ", "USDT", None),
    ],
)
def test_rates_go_directly_the_other_way_round_or_over_one_more(asset: str, currency: str, rate: str | None) -> None:
    rates = Rates([mark("BTC/USDT", "100"), mark("ETH/BTC", "0.05")], equal_assets=EQUAL)
    assert rates.rate(asset, currency) == (Decimal(rate) if rate is not None else None)
    assert rates.worth(Decimal(0), asset, currency) == 0


@pytest.mark.parametrize(
    ("commission", "asset", "price_of_fee", "value"),
    [
        ("0.5", "USDT", None, "0.5"),
        ("-0.5", "USDT", None, "-0.5"),
        ("0.001", "BTC", None, "0.1"),
        ("0.001", "BNB", "600", "0.6"),
        ("0.001", "BNB", None, None),
        ("0", "BNB", None, "0"),
        (None, None, "600", None),
    ],
)
def test_a_fee_is_worth_what_its_trade_says_or_the_market_of_its_time(
    commission: str | None, asset: str | None, price_of_fee: str | None, value: str | None
) -> None:
    amount = Decimal(commission) if commission is not None else None
    fill = make_fill(commission=amount, commission_asset=asset)
    price = Decimal(price_of_fee) if price_of_fee is not None else None
    assert commission_value(fill, price) == (Decimal(value) if value is not None else None)


def test_a_way_to_convert_is_listed_in_full_or_not_asked_for() -> None:
    needed = Needed(
        symbols=frozenset({"ETH/BTC", "GONE/USDT"}),
        assets=frozenset({"USDT", "USD", "BTC", "ADA", "XRP", "XYZ"}),
        currency="USDT",
        equal_assets=EQUAL,
    )
    listed = {"ETH/BTC", "BTC/USDC", "BTC/USDT", "ADA/BTC", "XRP/USD", "XYZ/EUR"}
    assert to_ask(needed, listed) == ["ETH/BTC", "ADA/BTC", "BTC/USDT", "XRP/USD"]
    assert list(conversions("USD", "USDT", EQUAL)) == []
    assert list(conversions("BTC", "EUR", EQUAL)) == [("BTC/EUR",), ("EUR/BTC",)]


def test_one_position_without_a_price_makes_the_sum_unknown_and_not_smaller() -> None:
    def held(symbol: str, amount: str, cost: str) -> Held:
        return Held(symbol=symbol, amount=Decimal(amount), cost=Decimal(cost), realized_pnl=Decimal(3))

    known = [held("BTC/USDT", "-2", "-180"), held("OLD/USDT", "0", "0")]
    rates = Rates([mark("BTC/USDT", "100")], equal_assets=EQUAL)
    told = {"balances": {"USDT": Decimal(7)}, "rates": rates, "currency": "USD", "now": NOW}
    equity = equity_of("a", TradingMode.PAPER, held=known, **told)
    assert (equity.equity, equity.realized, equity.unrealized, equity.unpriced) == (7, 6, -20, ())
    unknown = equity_of("a", TradingMode.PAPER, held=[*known, held("ETH/USDT", "1", "5")], **told)
    assert (unknown.equity, unknown.realized, unknown.unrealized) == (7, 9, None)
