"""Reads orders and trades back from the words in which the journal keeps them: those of the wire."""

from decimal import Decimal

from simulator.orders import Trade, VenueOrder


def trade_of(entry: dict[str, object]) -> Trade:
    """Read a trade."""
    wire = {name: str(value) for name, value in entry.items()}
    return Trade(
        symbol=wire["symbol"],
        trade_id=int(wire["id"]),
        order_id=int(wire["orderId"]),
        price=Decimal(wire["price"]),
        quantity=Decimal(wire["qty"]),
        cost=Decimal(wire["quoteQty"]),
        commission=Decimal(wire["commission"]),
        commission_asset=wire["commissionAsset"],
        time_ms=int(wire["time"]),
        is_buyer=entry["isBuyer"] is True,
        is_maker=entry["isMaker"] is True,
    )


def order_of(entry: dict[str, object]) -> VenueOrder:
    """Read an order as one entry of the journal shows it."""
    wire = entry["order"]
    assert isinstance(wire, dict)
    return VenueOrder(
        symbol=wire["symbol"],
        order_id=wire["orderId"],
        client_order_id=wire["clientOrderId"],
        side=wire["side"],
        type=wire["type"],
        time_in_force=wire["timeInForce"],
        quantity=Decimal(wire["origQty"]),
        price=Decimal(wire["price"]),
        stop_price=Decimal(wire["stopPrice"]),
        quote_quantity=Decimal(wire["origQuoteOrderQty"]),
        time_ms=wire["time"],
        status=wire["status"],
        executed=Decimal(wire["executedQty"]),
        cost=Decimal(wire["cummulativeQuoteQty"]),
        locked=Decimal(str(entry["locked"])),
        update_ms=wire["updateTime"],
        triggered=bool(wire["isWorking"]),
        slice_quantity=Decimal(str(entry.get("slice", 0))),
        expires_ms=int(str(entry.get("expires_ms", 0))),
        user_reference=int(str(entry.get("user_reference", 0))),
    )
