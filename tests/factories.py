"""Valid objects with one keyword for what the test is about."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from domain.events import Fill
from domain.identifiers import derive_order_id
from domain.instrument import Instrument, NormalTicket, normalize
from domain.order import OrderRequest, OrderSide, OrderTicket, OrderType, TradingMode
from domain.reports import OrderReport, VenueOrderStatus
from domain.risk import AccountTerms, Validated

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def make_instrument(**changes: Any) -> Instrument:
    """BTC/USDT with a cent's tick, 0.0001 steps and a minimum notional of 5."""
    return Instrument(
        **{
            "symbol": "BTC/USDT",
            "base_asset": "BTC",
            "quote_asset": "USDT",
            "tick_size": Decimal("0.01"),
            "step_size": Decimal("0.0001"),
            "min_notional": Decimal("5"),
            **changes,
        }
    )


def make_ticket(**changes: Any) -> OrderTicket:
    """A limit order to buy 0.1 BTC at 100."""
    return OrderTicket(
        **{
            "symbol": "BTC/USDT",
            "side": OrderSide.BUY,
            "order_type": OrderType.LIMIT,
            "quantity": Decimal("0.1"),
            "price": Decimal("100"),
            **changes,
        }
    )


def make_request(key: str = "key", *, account: str = "binanceus", **ticket: Any) -> OrderRequest:
    """The request of a ticket, its id derived from the key."""
    return OrderRequest(
        order_id=derive_order_id(account, key),
        account=account,
        ticket=make_ticket(**ticket),
        idempotency_key=key,
        requested_by="test",
        requested_at=NOW,
    )


def make_validated(request: OrderRequest, **changes: Any) -> Validated:
    """What `validate` finds for a ticket that fits."""
    instrument = make_instrument()
    normal = normalize(request.ticket, instrument, now=NOW)
    assert isinstance(normal, NormalTicket), normal
    return Validated(**{"normal": normal, "instrument": instrument, "reference_price": Decimal(100), **changes})


def make_terms(account: str = "binanceus") -> AccountTerms:
    """A sandbox account."""
    return AccountTerms(account=account, exchange="binanceus", mode=TradingMode.SANDBOX)


def make_fill(trade_id: str = "1", **changes: Any) -> Fill:
    """A trade of 0.1 BTC at 100."""
    return Fill(
        **{
            "symbol": "BTC/USDT",
            "venue_order_id": "7",
            "trade_id": trade_id,
            "last_qty": Decimal("0.1"),
            "last_px": Decimal("100"),
            "commission": Decimal("0.0001"),
            "commission_asset": "BTC",
            "ts_event": NOW,
            **changes,
        }
    )


def make_report(**changes: Any) -> OrderReport:
    """The venue's word on an open order without fills."""
    return OrderReport(
        **{
            "symbol": "BTC/USDT",
            "venue_order_id": "7",
            "client_order_id": None,
            "status": VenueOrderStatus.OPEN,
            "cum_qty": Decimal(0),
            **changes,
        }
    )
