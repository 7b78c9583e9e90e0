"""Orders and trades as Kraken writes them."""

from decimal import ROUND_DOWN, Decimal

from simulator.kraken.names import PAIRS, Pair, written_id
from simulator.listing import text
from simulator.orders import Ticket, Trade, VenueOrder

HIDDEN = "!"
"""Begins the client ids that this venue made up for orders that were given none."""
STATUSES = {"NEW": "open", "PARTIALLY_FILLED": "open", "FILLED": "closed", "CANCELED": "canceled"}
KINDS = {"STOP_LOSS": "stop-loss", "STOP_LOSS_LIMIT": "stop-loss-limit", "MARKET": "market"}


def order_id(order: VenueOrder) -> str:
    """Return the id by which Kraken knows an order."""
    return written_id("O", order.symbol, order.order_id)


def trade_id(trade: Trade) -> str:
    """Return the id by which Kraken knows a trade."""
    return written_id("T", trade.symbol, trade.trade_id)


def cut_to(value: Decimal, places: int) -> str:
    """Write an amount with so many places, cut off."""
    return format(value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_DOWN), "f")


def described(order: Ticket | VenueOrder) -> dict[str, object]:
    """Return what was asked for, as Kraken describes it."""
    pair, kind, side = PAIRS[order.symbol], KINDS.get(order.type, "limit"), order.side.lower()
    first, second = order.stop_price or order.price, order.price if order.stop_price else Decimal(0)
    words = f"{side} {text(order.quote_quantity or order.quantity)} {pair.altname} @ "
    if order.stop_price:
        words += f"stop loss {cut_to(first, pair.price_decimals)}"
        words += f" -> limit {cut_to(second, pair.price_decimals)}" if second else ""
    else:
        words += f"limit {cut_to(first, pair.price_decimals)}" if first else "market"
    return {
        "pair": pair.altname,
        "type": side,
        "ordertype": kind,
        "price": cut_to(first, pair.price_decimals) if first else "0",
        "price2": cut_to(second, pair.price_decimals) if second else "0",
        "leverage": "none",
        "order": words,
        "close": "",
    }


def shown_order(order: VenueOrder, *, with_trades: bool = False) -> dict[str, object]:
    """Return an order as a query shows it. Cost and fee are cut to the places of a price, as Kraken does."""
    pair = PAIRS[order.symbol]
    flags = "post,fciq" if order.type == "LIMIT_MAKER" else "fciq"
    entry: dict[str, object] = {
        "refid": None,
        "userref": order.user_reference or None,
        "status": _status(order),
        "opentm": order.time_ms / 1000,
        "starttm": 0,
        "expiretm": order.expires_ms // 1000,
        "descr": described(order),
        "vol": text(order.quantity),
        "vol_exec": text(order.executed),
        "cost": cut_to(order.cost, pair.price_decimals),
        "fee": cut_to(_fees(order, pair), pair.price_decimals),
        "price": cut_to(order.cost / order.executed if order.executed else Decimal(0), pair.price_decimals),
        "stopprice": cut_to(order.stop_price, pair.price_decimals),
        "limitprice": cut_to(order.price if order.stop_price else Decimal(0), pair.price_decimals),
        "misc": "",
        "oflags": f"{flags},viqc" if order.quote_quantity else flags,
    }
    if not order.client_order_id.startswith(HIDDEN):
        entry["cl_ord_id"] = order.client_order_id
    if not order.is_open:
        entry |= {"reason": _reason(order), "closetm": (order.update_ms or order.time_ms) / 1000}
    if with_trades and order.trades:
        entry["trades"] = [trade_id(trade) for trade in order.trades]
    return entry


def _status(order: VenueOrder) -> str:
    """Kraken calls expired what reached its expiry, and canceled what could not be filled at once."""
    expired = order.status == "EXPIRED" and order.expires_ms
    return STATUSES.get(order.status, "expired" if expired else "canceled")


def _reason(order: VenueOrder) -> str | None:
    if order.status == "FILLED":
        return None
    if order.type == "LIMIT_MAKER" and order.update_ms == order.time_ms:
        return "Post only order"
    return "User requested" if order.status == "CANCELED" else "Order expired"


def _fees(order: VenueOrder, pair: Pair) -> Decimal:
    paid = [trade.commission for trade in order.trades if trade.commission_asset == pair.listing.quote]
    return sum(paid, Decimal(0))


def shown_trade(trade: Trade, order: VenueOrder) -> dict[str, object]:
    """Return a trade as the history shows it."""
    return {
        "ordertxid": order_id(order),
        "postxid": "TKH2SE-M7IF5-CFI7LT",
        "pair": PAIRS[trade.symbol].pair_id,
        "time": trade.time_ms / 1000,
        "type": "buy" if trade.is_buyer else "sell",
        "ordertype": KINDS.get(order.type, "limit"),
        "price": text(trade.price),
        "cost": text(trade.cost),
        "fee": text(trade.commission),
        "vol": text(trade.quantity),
        "margin": "0.00000",
        "leverage": "0",
        "misc": "",
        "trade_id": trade.trade_id,
        "maker": trade.is_maker,
    }
