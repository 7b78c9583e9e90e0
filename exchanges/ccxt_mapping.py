"""ccxt's dictionaries as reports of the domain. Pure tables and functions; nothing is guessed.

Raises `VenueUnavailable` when an answer cannot be read as what it should be: such an answer says nothing.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from domain.errors import VenueUnavailable
from domain.events import Fill
from domain.identifiers import Symbol
from domain.instrument import Instrument
from domain.numbers import plain
from domain.reports import Balance, BookLevel, OrderBook, OrderReport, Ticker, VenueOrderStatus
from exchanges.venue_rules import VenueRules
from exchanges.venues.table import CONDITIONS

SMALLEST_STEP: Final = Decimal("0.00000001")
"""Taken where a venue tells no step: ccxt's own default. ccxt's rounding is still asked before an order is sent."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
UNNUMBERED: Final = frozenset({"", "-1", "None"})
"""Trade ids that name nothing: trades of smart order routing carry -1."""
_DIGITS_MAX: Final = Decimal(10) ** 18
_SYMBOL: Final[TypeAdapter[str]] = TypeAdapter(Symbol)


def number(value: object) -> Decimal | None:
    """Read a number of ccxt's; `None` stays `None`, for "not told" is not zero."""
    if value is None or value == "":
        return None
    try:
        figure = Decimal(str(value))
    except InvalidOperation:
        raise VenueUnavailable(f"the venue gave {str(value)[:40]!r} where a number belongs") from None
    if not figure.is_finite():
        raise VenueUnavailable(f"the venue gave {str(value)[:40]!r} where a number belongs")
    return figure


def positive(value: object) -> Decimal | None:
    """Read a number that means "none" when it is zero or less: limits, prices."""
    figure = number(value)
    return figure if figure is not None and figure > 0 else None


def moment(milliseconds: object, *, otherwise: datetime) -> datetime:
    """Read a time in milliseconds since 1970; `otherwise` where the venue gives none."""
    figure = number(milliseconds)
    return otherwise if figure is None else EPOCH + timedelta(milliseconds=int(figure))


def in_milliseconds(when: datetime) -> int:
    """Write a time as ccxt takes it, rounded down."""
    return (when - EPOCH) // timedelta(milliseconds=1)


# Markets.


def instruments_from(markets: Mapping[str, Any], *, tick_sizes: bool, rules: VenueRules) -> dict[str, Instrument]:
    """Return the spot symbols that can be traded by our rules, by unified symbol.

    Parameters
    ----------
    tick_sizes
        Whether the venue's precision is given in steps; else (significant digits) the smallest step is taken.
    """
    instruments: dict[str, Instrument] = {}
    for symbol, market in markets.items():
        if market.get("spot") is not True:
            continue
        try:
            instruments[symbol] = _instrument(_SYMBOL.validate_python(symbol), market, tick_sizes, rules)
        except (ValidationError, VenueUnavailable):
            continue  # its name or its steps do not fit our grammar: it is not offered
    return instruments


def _instrument(symbol: str, market: Mapping[str, Any], tick_sizes: bool, rules: VenueRules) -> Instrument:
    precision, limits = market["precision"], market["limits"]
    amount, price, cost = (limits.get(name) or {} for name in ("amount", "price", "cost"))
    return Instrument(
        symbol=symbol,
        base_asset=market["base"],
        quote_asset=market["quote"],
        tick_size=(positive(precision.get("price")) if tick_sizes else None) or SMALLEST_STEP,
        step_size=(positive(precision.get("amount")) if tick_sizes else None) or SMALLEST_STEP,
        min_quantity=_limit(amount.get("min")),
        max_quantity=_limit(amount.get("max")),
        min_price=_limit(price.get("min")),
        max_price=_limit(price.get("max")),
        min_notional=_limit(cost.get("min")),
        max_notional=_limit(cost.get("max")),
        maker_rate=_rate(market.get("maker")),
        taker_rate=_rate(market.get("taker")),
        # What a buyer gives is the quote; ccxt reckons with the quote where a venue says nothing.
        fee_in_quote=market.get("feeSide", "quote") in ("quote", "give"),
        active=market.get("active") is not False,
        lacks=_lacks(market, rules),
    )


def _lacks(market: Mapping[str, Any], rules: VenueRules) -> tuple[str, ...]:
    """Name the conditions that the venue does not take at all, and what the market does not list of its types.

    Types that a venue lacks altogether are told by its `placement`; of a venue without a table nothing is known.
    """
    lacking = {word for word in CONDITIONS if word not in rules.shapes} if rules.wire else set()
    listed = (market.get("info") or {}).get(rules.market_types_key) if rules.market_types_key else None
    if isinstance(listed, list):
        lacking |= {shape for shape, word in rules.market_types.items() if word not in listed}
    return tuple(sorted(lacking))


def _limit(value: object) -> Decimal | None:
    """A limit beyond what our numbers hold limits nothing."""
    figure = positive(value)
    return figure if figure is not None and figure < _DIGITS_MAX else None


def _rate(value: object) -> Decimal | None:
    """A rebate counts as zero: rates are used to hold back enough, and a rebate must not lessen that."""
    figure = number(value)
    return None if figure is None else max(figure, Decimal(0))


# Orders and trades.

_STATUSES: Final[Mapping[str, VenueOrderStatus]] = {status.value: status for status in VenueOrderStatus}


def status_from(word: object, rules: VenueRules) -> VenueOrderStatus:
    """Read a status word; one that is in no table raises."""
    if word in rules.open_words:
        return VenueOrderStatus.OPEN
    try:
        return _STATUSES[str(word)]
    except KeyError:
        raise VenueUnavailable(f"the venue gave the unknown order status {str(word)[:40]!r}") from None


def report_from(order: Mapping[str, Any], *, symbol: str, rules: VenueRules, now: datetime) -> OrderReport:
    """Read an order that was looked up or listed."""
    status = status_from(order.get("status"), rules)
    return _report(order, status=status, symbol=symbol, rules=rules, now=now)


def acknowledgment_from(order: Mapping[str, Any], *, symbol: str, rules: VenueRules, now: datetime) -> OrderReport:
    """Read the answer to a placed order. Many venues name the order's id and nothing more: then it is open so far.

    So it is when the rest cannot be read, for the id alone is what accepts it. What traded on arrival took from the
    book, also where the answer does not say so and the list of trades will.
    """
    try:
        trades = [
            {**trade, "takerOrMaker": trade.get("takerOrMaker") or "taker"} for trade in order.get("trades") or ()
        ]
        return report_from({**order, "trades": trades}, symbol=symbol, rules=rules, now=now)
    except (VenueUnavailable, ValueError, KeyError, TypeError, ArithmeticError, AttributeError):
        bare = {"id": order.get("id"), "clientOrderId": order.get("clientOrderId"), "symbol": order.get("symbol")}
        return _report(bare, status=VenueOrderStatus.OPEN, symbol=symbol, rules=rules, now=now)


def _report(order: Mapping[str, Any], *, status: VenueOrderStatus, symbol: str, rules: VenueRules,
            now: datetime) -> OrderReport:  # fmt: skip
    venue_order_id = order.get("id")
    if not venue_order_id:
        raise VenueUnavailable("the venue's order has no id")
    if order.get("symbol") not in (None, symbol):
        raise VenueUnavailable(f"the venue answered for {order['symbol']}, not for {symbol}")
    raw = order.get("info")
    raw = raw if isinstance(raw, Mapping) else {}
    quote_qty = number(raw.get(rules.quote_key)) if rules.quote_key else None
    return OrderReport(
        symbol=symbol,
        venue_order_id=str(venue_order_id),
        client_order_id=client_order_id_of(order, rules),
        status=status,
        side=order["side"] if order.get("side") in ("buy", "sell") else None,
        quantity=positive(order.get("amount")),
        price=positive(order.get("price")) if order.get("type") == "limit" else None,
        cum_qty=_cum_qty(order, raw, status=status, rules=rules),
        cum_quote_qty=quote_qty if quote_qty is not None and quote_qty >= 0 else None,
        trades=_own_trades(order, symbol=symbol, venue_order_id=str(venue_order_id), now=now),
        ts_event=moment(order.get("lastUpdateTimestamp") or order.get("timestamp"), otherwise=now),
    )


def client_order_id_of(order: Mapping[str, Any], rules: VenueRules) -> str | None:
    """Return our id as the venue gives it back."""
    client_order_id = order.get("clientOrderId")
    return str(client_order_id).removeprefix(rules.client_ids.prefix) if client_order_id else None


def _cum_qty(order: Mapping[str, Any], raw: Mapping[str, Any], *, status: VenueOrderStatus,
             rules: VenueRules) -> Decimal | None:  # fmt: skip
    """Take the filled quantity from the raw order: ccxt sets it to the whole quantity when the venue told nothing."""
    for key in rules.filled_keys:
        if raw.get(key) not in (None, ""):
            return number(raw[key])
    if rules.filled_keys or status is VenueOrderStatus.CLOSED:
        return None
    return number(order.get("filled"))


def _own_trades(order: Mapping[str, Any], *, symbol: str, venue_order_id: str, now: datetime) -> tuple[Fill, ...]:
    """Take numbered trades only: the others are named by their exact time, which an order's answer may lack.

    Some venues give the ids of the trades alone; the list of trades tells the rest.
    """
    listed = [trade for trade in order.get("trades") or () if str(trade.get("id")) not in UNNUMBERED]
    trades = [trade for trade in listed if trade.get("amount") is not None and trade.get("price") is not None]
    stamped = [{"timestamp": order.get("timestamp"), **_told(trade)} for trade in trades]
    return tuple(fills_from(stamped, symbol=symbol, venue_order_id=venue_order_id, now=now))


def _told(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if value is not None}


def fills_from(trades: Iterable[Mapping[str, Any]], *, symbol: str, now: datetime,
               venue_order_id: str | None = None) -> list[Fill]:  # fmt: skip
    """Read trades, oldest first.

    Parameters
    ----------
    venue_order_id
        The order they belong to, where the trades themselves do not say.
    """
    fills, unnumbered = [], Counter[str]()
    for trade in trades:
        order_id = trade.get("order") or venue_order_id
        quantity, price = number(trade.get("amount")), number(trade.get("price"))
        if not order_id or quantity is None or price is None:
            raise VenueUnavailable("a trade of the venue lacks its order, quantity or price")
        trade_id = str(trade.get("id"))
        if trade_id in UNNUMBERED:
            figures = f"{trade.get('timestamp')}-{trade.get('side')}-{plain(quantity)}-{plain(price)}"
            unnumbered[f"{order_id} {figures}"] += 1
            trade_id = f"{figures}-{unnumbered[f'{order_id} {figures}']}"
        fills.append(_fill(trade, symbol, str(order_id), trade_id, quantity, price, now))
    return sorted(fills, key=lambda fill: (fill.ts_event, len(fill.trade_id), fill.trade_id))


def _fill(trade: Mapping[str, Any], symbol: str, order_id: str, trade_id: str, quantity: Decimal, price: Decimal,
          now: datetime) -> Fill:  # fmt: skip
    fee = trade.get("fee") or {}
    commission, asset = number(fee.get("cost")), fee.get("currency")
    known = commission is not None and asset is not None
    return Fill(
        symbol=symbol,
        venue_order_id=order_id,
        trade_id=trade_id,
        last_qty=quantity,
        last_px=price,
        commission=commission if known else None,
        commission_asset=str(asset) if known else None,
        liquidity_side=trade.get("takerOrMaker"),
        ts_event=moment(trade.get("timestamp"), otherwise=now),
    )


# Balances and market data.


def balances_from(answer: Mapping[str, Any]) -> list[Balance]:
    """Read the assets that the account holds, those of zero left out."""
    balances = []
    for asset, total in (answer.get("total") or {}).items():
        held = number(total)
        free, used = number(answer["free"].get(asset)), number(answer["used"].get(asset))
        if held is None or held <= 0:
            continue
        if free is None:
            free = held - (used or Decimal(0))
        used = held - free if used is None else used
        balances.append(Balance(asset=asset, free=free, used=used, total=held))
    return balances


def ticker_from(answer: Mapping[str, Any], *, symbol: str, now: datetime) -> Ticker:
    """Read a ticker."""
    return Ticker(
        symbol=symbol,
        bid=positive(answer.get("bid")),
        ask=positive(answer.get("ask")),
        last=positive(answer.get("last")),
        base_volume=number(answer.get("baseVolume")),
        ts_event=moment(answer.get("timestamp"), otherwise=now),
    )


def order_book_from(answer: Mapping[str, Any], *, symbol: str, depth: int, now: datetime) -> OrderBook:
    """Read the order book and sort it, best price first: ccxt would sort its texts as texts."""
    bids = sorted(_levels(answer["bids"]), key=lambda level: -level.price)
    asks = sorted(_levels(answer["asks"]), key=lambda level: level.price)
    return OrderBook(
        symbol=symbol,
        bids=tuple(bids[:depth]),
        asks=tuple(asks[:depth]),
        ts_event=moment(answer.get("timestamp"), otherwise=now),
    )


def _levels(rows: Sequence[Sequence[object]]) -> list[BookLevel]:
    levels = []
    for row in rows:
        price, quantity = number(row[0]), number(row[1])
        if price is not None and quantity is not None and quantity > 0:
            levels.append(BookLevel(price=price, quantity=quantity))
    return levels
