"""What ccxt's dictionaries become, and what they must never become: zero for unknown, a guess, a rounded digit."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import VenueUnavailable
from domain.numbers import plain
from domain.reports import VenueOrderStatus
from exchanges.ccxt_mapping import (
    acknowledgment_from,
    balances_from,
    fills_from,
    in_milliseconds,
    instruments_from,
    moment,
    number,
    order_book_from,
    report_from,
    status_from,
    ticker_from,
)
from exchanges.venue_rules import listed_venues, venue_rules

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
BINANCE = venue_rules("binanceus")
UNLISTED = venue_rules("nowhere")
SYMBOL = "BTC/USDT"
AMOUNTS = st.decimals(min_value=0, max_value=10**12, places=8)


def order(**changes: Any) -> dict[str, Any]:
    given_order: dict[str, Any] = {
        "id": "28",
        "clientOrderId": "abcdef0123456789",
        "symbol": SYMBOL,
        "status": "open",
        "type": "limit",
        "amount": "1.50000000",
        "price": "100.25",
        "filled": "0.5",
        "timestamp": 1767323045678,
        "info": {"executedQty": "0.50000000", "cummulativeQuoteQty": "50.12500000"},
        "trades": [],
    }
    return {**given_order, **changes}


def trade(**changes: Any) -> dict[str, Any]:
    given_trade: dict[str, Any] = {
        "id": "7",
        "order": "28",
        "side": "buy",
        "amount": "0.5",
        "price": "100.25",
        "timestamp": 1767323045678,
        "takerOrMaker": "maker",
        "fee": {"cost": "0.0005", "currency": "BTC"},
    }
    return {**given_trade, **changes}


@given(AMOUNTS)
def test_number_keeps_every_digit_of_a_text(value: Decimal) -> None:
    assert number(str(value)) == value
    assert number(plain(value)) == value


@pytest.mark.parametrize("told", [None, ""])
def test_number_that_is_not_told_is_none(told: object) -> None:
    assert number(told) is None


@pytest.mark.parametrize("told", ["NaN", "Infinity", "-Infinity", "abc", "1,5", [], {}])
def test_number_that_is_no_number_makes_the_answer_unreadable(told: object) -> None:
    with pytest.raises(VenueUnavailable):
        number(told)


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)))
def test_moment_returns_to_the_same_millisecond(when: datetime) -> None:
    back = moment(in_milliseconds(when), otherwise=NOW)
    assert timedelta(0) <= when - back < timedelta(milliseconds=1)


@pytest.mark.parametrize("venue", listed_venues())
@pytest.mark.parametrize("word", list(VenueOrderStatus))
def test_white_listed_status_words_are_read_for_every_venue(venue: str, word: VenueOrderStatus) -> None:
    assert status_from(str(word), venue_rules(venue)) is word


@given(st.text(max_size=20).filter(lambda word: word not in set(VenueOrderStatus) | BINANCE.open_words))
def test_unknown_status_word_is_never_guessed(word: str) -> None:
    with pytest.raises(VenueUnavailable):
        status_from(word, BINANCE)


@pytest.mark.parametrize("word", [None, "ok", "FILLED", "Open", "partially_filled"])
def test_near_miss_of_a_status_word_is_unknown(word: object) -> None:
    with pytest.raises(VenueUnavailable):
        status_from(word, BINANCE)


def test_order_waiting_at_binance_is_open() -> None:
    assert status_from("PENDING_NEW", BINANCE) is VenueOrderStatus.OPEN
    assert status_from("canceling", BINANCE) is VenueOrderStatus.OPEN


def test_report_holds_what_the_venue_said() -> None:
    report = report_from(order(), symbol=SYMBOL, rules=BINANCE, now=NOW)
    assert (report.venue_order_id, report.client_order_id) == ("28", "abcdef0123456789")
    assert (report.quantity, report.price) == (Decimal("1.5"), Decimal("100.25"))
    assert (report.cum_qty, report.cum_quote_qty) == (Decimal("0.5"), Decimal("50.125"))
    assert report.ts_event == NOW


def test_filled_quantity_comes_from_the_raw_order_when_ccxt_invented_one() -> None:
    """ccxt sets `filled` to the whole amount of a closed order whose venue did not say."""
    invented = order(status="closed", filled="1.5", info={})
    assert report_from(invented, symbol=SYMBOL, rules=BINANCE, now=NOW).cum_qty is None
    assert report_from(invented, symbol=SYMBOL, rules=UNLISTED, now=NOW).cum_qty is None
    told = order(status="closed", filled="1.5", info={"executedQty": "1.2"})
    assert report_from(told, symbol=SYMBOL, rules=BINANCE, now=NOW).cum_qty == Decimal("1.2")


def test_filled_quantity_of_an_unlisted_venue_is_taken_while_it_cannot_be_invented() -> None:
    assert report_from(order(info={}), symbol=SYMBOL, rules=UNLISTED, now=NOW).cum_qty == Decimal("0.5")


def test_zero_filled_is_known_and_not_none() -> None:
    report = report_from(order(info={"executedQty": "0.00000000"}), symbol=SYMBOL, rules=BINANCE, now=NOW)
    assert report.cum_qty == 0


def test_negative_notional_means_not_told() -> None:
    report = report_from(order(info={"cummulativeQuoteQty": "-1"}), symbol=SYMBOL, rules=BINANCE, now=NOW)
    assert report.cum_quote_qty is None


def test_average_that_ccxt_puts_in_place_of_a_market_orders_price_is_left_out() -> None:
    assert report_from(order(type="market"), symbol=SYMBOL, rules=BINANCE, now=NOW).price is None


@pytest.mark.parametrize("changes", [{"id": None}, {"id": ""}, {"symbol": "ETH/USDT"}])
def test_order_without_an_id_or_of_another_symbol_is_unreadable(changes: dict[str, Any]) -> None:
    with pytest.raises(VenueUnavailable):
        report_from(order(**changes), symbol=SYMBOL, rules=BINANCE, now=NOW)


def test_prefix_that_gate_wants_is_taken_off_again() -> None:
    report = report_from(order(clientOrderId="t-abcdef0123456789"), symbol=SYMBOL, rules=venue_rules("gate"), now=NOW)
    assert report.client_order_id == "abcdef0123456789"


@pytest.mark.parametrize("status", [None, "something new"])
def test_acknowledgment_that_names_an_id_only_is_open_and_claims_nothing(status: object) -> None:
    report = acknowledgment_from(order(status=status), symbol=SYMBOL, rules=BINANCE, now=NOW)
    assert report.status is VenueOrderStatus.OPEN
    assert report.cum_qty is None
    assert report.trades == ()


@pytest.mark.parametrize(
    "spoilt", [{"amount": "much"}, {"trades": [trade(price="much")]}, {"info": {"executedQty": "1e400"}}, {"trades": 7}]
)
def test_acknowledgment_whose_figures_cannot_be_read_still_names_the_order(spoilt: dict[str, Any]) -> None:
    report = acknowledgment_from(order(**spoilt), symbol=SYMBOL, rules=BINANCE, now=NOW)
    assert (report.venue_order_id, report.status, report.cum_qty) == ("28", VenueOrderStatus.OPEN, None)


def test_trades_in_an_acknowledgment_are_dated_by_it() -> None:
    answer = order(status="closed", trades=[trade(order=None, timestamp=None)])
    report = acknowledgment_from(answer, symbol=SYMBOL, rules=BINANCE, now=NOW)
    assert [(fill.key, fill.ts_event) for fill in report.trades] == [((SYMBOL, "28", "7"), NOW)]


def test_unnumbered_trades_of_an_order_are_left_to_the_list_of_trades() -> None:
    answer = order(trades=[trade(id="-1"), trade(id=None), trade(id="9")])
    report = report_from(answer, symbol=SYMBOL, rules=BINANCE, now=NOW)
    assert [fill.trade_id for fill in report.trades] == ["9"]


def test_fill_keeps_a_rebate_below_zero() -> None:
    (fill,) = fills_from([trade(fee={"cost": "-0.00001", "currency": "USDT"})], symbol=SYMBOL, now=NOW)
    assert (fill.commission, fill.commission_asset) == (Decimal("-0.00001"), "USDT")


@pytest.mark.parametrize("fee", [None, {}, {"cost": None, "currency": "BTC"}, {"cost": "1", "currency": None}])
def test_fill_without_a_told_commission_has_none_and_not_zero(fee: object) -> None:
    (fill,) = fills_from([trade(fee=fee)], symbol=SYMBOL, now=NOW)
    assert fill.commission is None
    assert fill.commission_asset is None


def test_fill_with_a_commission_of_zero_has_zero() -> None:
    (fill,) = fills_from([trade(fee={"cost": "0.00000000", "currency": "BTC"})], symbol=SYMBOL, now=NOW)
    assert fill.commission == 0


@pytest.mark.parametrize("lacking", ["order", "amount", "price"])
def test_trade_that_lacks_a_figure_is_unreadable(lacking: str) -> None:
    with pytest.raises(VenueUnavailable):
        fills_from([trade(**{lacking: None})], symbol=SYMBOL, now=NOW)


@given(st.lists(st.tuples(st.integers(0, 3), AMOUNTS.filter(bool)), max_size=20), st.randoms())
def test_unnumbered_trades_get_the_same_distinct_keys_in_any_order(rows: Any, random: Any) -> None:
    trades = [trade(id="-1", timestamp=1767323045000 + ms, amount=str(quantity)) for ms, quantity in rows]
    keys = [fill.key for fill in fills_from(trades, symbol=SYMBOL, now=NOW)]
    shuffled = list(trades)
    random.shuffle(shuffled)
    assert len(set(keys)) == len(trades)
    assert sorted(fill.key for fill in fills_from(shuffled, symbol=SYMBOL, now=NOW)) == sorted(keys)


@given(st.lists(st.integers(0, 10**6), unique=True, max_size=20), st.randoms())
def test_fills_come_oldest_first_and_by_number_within_a_millisecond(ids: list[int], random: Any) -> None:
    trades = [trade(id=str(number_), timestamp=1767323045000 + number_ % 3) for number_ in ids]
    random.shuffle(trades)
    read = [(fill.ts_event, int(fill.trade_id)) for fill in fills_from(trades, symbol=SYMBOL, now=NOW)]
    assert read == sorted(read)


def market(**changes: Any) -> dict[str, Any]:
    given_market: dict[str, Any] = {
        "spot": True,
        "base": "BTC",
        "quote": "USDT",
        "active": True,
        "maker": 0.00005,
        "taker": "0.001",
        "precision": {"amount": "0.00001000", "price": "0.01000000"},
        "limits": {
            "amount": {"min": "0.00001", "max": "9000"},
            "price": {"min": "0.00000000", "max": None},
            "cost": {"min": "5.00000000", "max": "1e30"},
        },
    }
    return {**given_market, **changes}


def test_instrument_holds_the_venues_steps_and_limits() -> None:
    instrument = instruments_from({SYMBOL: market()}, tick_sizes=True, rules=BINANCE)[SYMBOL]
    assert (instrument.tick_size, instrument.step_size) == (Decimal("0.01"), Decimal("0.00001"))
    assert (instrument.min_quantity, instrument.max_quantity) == (Decimal("0.00001"), Decimal(9000))
    assert (instrument.min_price, instrument.min_notional, instrument.max_notional) == (None, Decimal(5), None)
    assert (instrument.maker_rate, instrument.taker_rate) == (Decimal("0.00005"), Decimal("0.001"))


@pytest.mark.parametrize("symbol", ["BTC/USDT:USDT", "btc/usdt", "BTC", "ДА/USDT", "A" * 21 + "/USDT"])
def test_symbol_outside_our_grammar_is_not_offered(symbol: str) -> None:
    assert instruments_from({symbol: market()}, tick_sizes=True, rules=BINANCE) == {}


def test_market_that_is_not_spot_is_not_offered() -> None:
    assert instruments_from({SYMBOL: market(spot=False)}, tick_sizes=True, rules=BINANCE) == {}


def test_halted_market_is_offered_as_inactive() -> None:
    assert instruments_from({SYMBOL: market(active=False)}, tick_sizes=True, rules=BINANCE)[SYMBOL].active is False


def test_rebate_rate_counts_as_zero_so_that_enough_is_held_back() -> None:
    assert instruments_from({SYMBOL: market(maker=-0.0001)}, tick_sizes=True, rules=BINANCE)[SYMBOL].maker_rate == 0


def test_order_types_that_the_market_does_not_list_are_lacking() -> None:
    listed = {"orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"]}
    assert instruments_from({SYMBOL: market(info=listed)}, tick_sizes=True, rules=BINANCE)[SYMBOL].lacks == ("stop",)
    assert instruments_from({SYMBOL: market(info=listed)}, tick_sizes=True, rules=UNLISTED)[SYMBOL].lacks == ()
    assert instruments_from({SYMBOL: market(info={})}, tick_sizes=True, rules=BINANCE)[SYMBOL].lacks == ()
    bitstamp = instruments_from({SYMBOL: market(info=listed)}, tick_sizes=True, rules=venue_rules("bitstamp"))[SYMBOL]
    assert bitstamp.lacks == ("FOK", "IOC", "post-only")


def test_balances_leave_out_assets_of_zero_and_complete_what_is_missing() -> None:
    answer = {
        "free": {"BTC": "1.5", "USDT": None, "BNB": "0"},
        "used": {"BTC": "0.5", "USDT": "25", "BNB": "0"},
        "total": {"BTC": "2.0", "USDT": "100", "BNB": "0.00000000"},
    }
    read = {entry.asset: (entry.free, entry.used, entry.total) for entry in balances_from(answer)}
    assert read == {
        "BTC": (Decimal("1.5"), Decimal("0.5"), Decimal(2)),
        "USDT": (Decimal(75), Decimal(25), Decimal(100)),
    }


def test_ticker_price_of_zero_is_none() -> None:
    ticker = ticker_from({"bid": "0.00000000", "ask": "10.5", "last": None}, symbol=SYMBOL, now=NOW)
    assert (ticker.bid, ticker.ask, ticker.last, ticker.ts_event) == (None, Decimal("10.5"), None, NOW)


@given(st.lists(st.tuples(AMOUNTS.filter(bool), AMOUNTS.filter(bool)), max_size=20), st.integers(1, 10))
def test_order_book_is_sorted_by_value_and_keeps_every_digit(rows: list[tuple[Decimal, Decimal]], depth: int) -> None:
    answer = {"bids": [[str(p), str(q)] for p, q in rows], "asks": [[str(p), str(q)] for p, q in rows]}
    book = order_book_from(answer, symbol=SYMBOL, depth=depth, now=NOW)
    assert [level.price for level in book.bids] == sorted((p for p, _ in rows), reverse=True)[:depth]
    assert [level.price for level in book.asks] == sorted(p for p, _ in rows)[:depth]
    assert {(level.price, level.quantity) for level in book.asks} <= set(rows)
