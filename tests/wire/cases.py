"""The orders that are written down for every venue, each with every side and condition."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from domain.reports import OrderRef, Submission

SYMBOL: Final = "BTC/USDT"
CLIENT_ORDER_ID: Final = "abcdef0123456789"
VENUE_ORDER_ID: Final = "4242424242"
QUANTITY: Final = Decimal("0.00125")
PRICE: Final = Decimal("50010")
TRIGGER: Final = Decimal("49990")

SHAPES: Final[dict[str, dict[str, Any]]] = {
    "market": {"order_type": "market"},
    "limit": {"order_type": "limit", "price": PRICE},
    "limit IOC": {"order_type": "limit", "price": PRICE, "time_in_force": "IOC"},
    "limit FOK": {"order_type": "limit", "price": PRICE, "time_in_force": "FOK"},
    "limit post-only": {"order_type": "limit", "price": PRICE, "post_only": True},
    "stop": {"order_type": "stop", "trigger_price": TRIGGER},
    "stop-limit": {"order_type": "stop-limit", "price": PRICE, "trigger_price": TRIGGER},
}
ORDERS: Final[dict[str, dict[str, Any]]] = {
    f"{name} {side}": {**shape, "side": side} for name, shape in SHAPES.items() for side in ("buy", "sell")
}
BY_OUR_ID: Final = OrderRef(symbol=SYMBOL, client_order_id=CLIENT_ORDER_ID)
BY_VENUE_ID: Final = OrderRef(symbol=SYMBOL, client_order_id=CLIENT_ORDER_ID, venue_order_id=VENUE_ORDER_ID)


def submission(client_order_id: str = CLIENT_ORDER_ID, **order: Any) -> Submission:
    """Make one of the orders, signed now."""
    return Submission(
        **{"client_order_id": client_order_id, "symbol": SYMBOL, "quantity": QUANTITY, "signed_at": datetime.now(UTC)},
        **order,
    )
