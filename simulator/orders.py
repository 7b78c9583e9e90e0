"""What the venue is asked, what it keeps of an order and its trades, and how it writes them on the wire."""

from dataclasses import dataclass, field
from decimal import Decimal

from simulator.listing import text

OPEN = ("NEW", "PARTIALLY_FILLED")


@dataclass(frozen=True)
class Ticket:
    """What is asked for. A zero price, stop price or quote quantity stands for one that was not given."""

    symbol: str
    side: str
    type: str
    quantity: Decimal
    client_order_id: str
    price: Decimal = Decimal(0)
    stop_price: Decimal = Decimal(0)
    time_in_force: str = "GTC"
    quote_quantity: Decimal = Decimal(0)
    expires_ms: int = 0
    """When the venue itself ends it; 0: never."""
    user_reference: int = 0


@dataclass
class Trade:
    """One trade. Ids are numbered per symbol."""

    symbol: str
    trade_id: int
    order_id: int
    price: Decimal
    quantity: Decimal
    cost: Decimal
    """Quote units, cut to the eight places that the venue keeps."""
    commission: Decimal
    commission_asset: str
    time_ms: int
    is_buyer: bool
    is_maker: bool

    def wire(self) -> dict[str, object]:
        """Return the entry of `myTrades`."""
        return {
            "symbol": self.symbol,
            "id": self.trade_id,
            "orderId": self.order_id,
            "orderListId": -1,
            "price": text(self.price),
            "qty": text(self.quantity),
            "quoteQty": text(self.cost),
            "commission": text(self.commission),
            "commissionAsset": self.commission_asset,
            "time": self.time_ms,
            "isBuyer": self.is_buyer,
            "isMaker": self.is_maker,
            "isBestMatch": True,
        }

    def fill(self) -> dict[str, object]:
        """Return the entry of `fills` in the answer to a new order."""
        return {
            "price": text(self.price),
            "qty": text(self.quantity),
            "commission": text(self.commission),
            "commissionAsset": self.commission_asset,
            "tradeId": self.trade_id,
        }


@dataclass
class VenueOrder:
    """One order. Ids are numbered per symbol."""

    symbol: str
    order_id: int
    client_order_id: str
    side: str
    type: str
    time_in_force: str
    quantity: Decimal
    price: Decimal
    stop_price: Decimal
    quote_quantity: Decimal
    time_ms: int
    status: str = "NEW"
    executed: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)
    locked: Decimal = Decimal(0)
    update_ms: int = 0
    triggered: bool = True
    slice_quantity: Decimal = Decimal(0)
    expires_ms: int = 0
    user_reference: int = 0
    trades: list[Trade] = field(default_factory=list)
    history: list[dict[str, object]] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        """Whether it works."""
        return self.status in OPEN

    @property
    def left(self) -> Decimal:
        """Base units still to be filled."""
        return self.quantity - self.executed

    def wire(self) -> dict[str, object]:
        """Return the order as a query shows it."""
        return {
            "symbol": self.symbol,
            "orderId": self.order_id,
            "orderListId": -1,
            "clientOrderId": self.client_order_id,
            "price": text(self.price),
            "origQty": text(self.quantity),
            "executedQty": text(self.executed),
            "cummulativeQuoteQty": text(self.cost),
            "status": self.status,
            "timeInForce": self.time_in_force,
            "type": self.type,
            "side": self.side,
            "stopPrice": text(self.stop_price),
            "icebergQty": text(Decimal(0)),
            "time": self.time_ms,
            "updateTime": self.update_ms or self.time_ms,
            "isWorking": self.triggered,
            "workingTime": self.time_ms if self.triggered else -1,
            "origQuoteOrderQty": text(self.quote_quantity),
            "selfTradePreventionMode": "NONE",
        }

    def canceled_answer(self, cancel_id: str) -> dict[str, object]:
        """Return the answer to a cancel: it carries the cancel's own client id beside the order's."""
        shown = self.wire()
        hidden = ("time", "updateTime", "isWorking", "workingTime", "origQuoteOrderQty")
        answer = {name: value for name, value in shown.items() if name not in hidden}
        return answer | {
            "origClientOrderId": self.client_order_id,
            "clientOrderId": cancel_id,
            "transactTime": self.update_ms,
        }

    def new_order_answer(self, kind: str) -> dict[str, object]:
        """Return the answer to a new order: ACK, RESULT or FULL."""
        answer: dict[str, object] = {
            "symbol": self.symbol,
            "orderId": self.order_id,
            "orderListId": -1,
            "clientOrderId": self.client_order_id,
            "transactTime": self.update_ms or self.time_ms,
        }
        if kind == "ACK":
            return answer
        shown = self.wire()
        names = ("price", "origQty", "executedQty", "cummulativeQuoteQty", "status", "timeInForce", "type", "side")
        answer |= {name: shown[name] for name in (*names, "workingTime", "selfTradePreventionMode")}
        if kind == "FULL":
            answer["fills"] = [trade.fill() for trade in self.trades]
        return answer
