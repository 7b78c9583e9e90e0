"""Records for tax and compliance: rows with fixed names, numbers as text, times in ISO 8601, UTC.

Every row names the trades and the order that it comes from. What is not known is empty, never zero.
"""

import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Protocol

from domain.events import OrderEvent
from domain.lifecycle import OrderEventType
from domain.lots import Book, Disposal, Fee, Method, Trade
from domain.numbers import multiply, plain, to_scale
from domain.order import Order, TradingMode
from domain.valuation import commission_value

Row = Mapping[str, Any]
"""Text, `None`, true or false; in the compliance record also lists of such rows."""


class RecordKind(StrEnum):
    """What is reported."""

    FILLS = "fills"
    GAINS = "gains"
    FEES = "fees"
    ORDERS = "orders"


_TRADE: Final = ("trade_id", "venue_order_id", "order_id")
COLUMNS: Final[Mapping[RecordKind, tuple[str, ...]]] = {
    RecordKind.FILLS: (
        "at", "account", "mode", "symbol", "side", "quantity", "price", "notional", "currency", "fee", "fee_asset",
        "fee_value", "liquidity", *_TRADE, "requested_by", "strategy", "client_reference", "recorded_at",
    ),
    RecordKind.GAINS: (
        "closed_at", "opened_at", "held_days", "account", "mode", "symbol", "side", "method", "quantity", "proceeds",
        "cost", "gain", "fees", "fees_value", "net_gain", "currency", "by_fee",
        *(f"opened_{name}" for name in _TRADE), *(f"closed_{name}" for name in _TRADE),
    ),
    RecordKind.FEES: (
        "at", "account", "mode", "symbol", "side", "fee", "fee_asset", "value", "currency", "price_of_fee_asset",
        "liquidity", *_TRADE,
    ),
    RecordKind.ORDERS: (
        "order_id", "account", "exchange", "mode", "symbol", "side", "order_type", "quantity", "price",
        "trigger_price", "time_in_force", "post_only", "strategy", "client_reference", "requested_by", "asked_at",
        "decision", "decided_at", "decision_code", "decision_text", "limits_checked", "approval", "approval_by",
        "approval_at", "approval_because", "amendments", "cancel_requested_at", "cancel_reason", "status",
        "reason_code", "reason_text", "cum_qty", "avg_px", "fees", "ended_at", "client_order_id",
        "venue_order_id", "events",
    ),
}  # fmt: skip
"""The names of each record's columns, in order."""


@dataclass(frozen=True, slots=True)
class LedgerFill:
    """A fill with what the ledger knows of its order."""

    account: str
    mode: TradingMode
    trade: Trade
    requested_by: str | None
    strategy: str | None
    client_reference: str | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """What came of asking a person."""

    decision: str | None
    by: str | None
    at: datetime | None
    because: str | None


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """An order with all its facts; `evidence` holds the JSON that a fact was decided by."""

    order: Order
    events: Sequence[tuple[OrderEvent, str | None]] = field(default_factory=tuple)
    approval: Decision | None = None


class RecordReader(Protocol):
    """The ledger as reports read it: page after page, each in a transaction of its own. Raises `StoreUnavailable`."""

    def fills(
        self, account: str, mode: TradingMode, *, since: datetime | None, until: datetime
    ) -> AsyncIterator[Sequence[LedgerFill]]:
        """Yield the fills by symbol, then in the venue's time order."""

    def orders(
        self, account: str, mode: TradingMode, *, since: datetime, until: datetime
    ) -> AsyncIterator[Sequence[OrderRecord]]:
        """Yield the orders that were asked for in that time, oldest first."""


def fill_row(entry: LedgerFill) -> Row:
    """Return one trade."""
    fill = entry.trade.fill
    return {
        **_trade(entry),
        "quantity": plain(fill.last_qty),
        "price": plain(fill.last_px),
        "notional": plain(to_scale(multiply(fill.last_qty, fill.last_px))),
        "currency": fill.symbol.split("/")[1],
        "fee": _text(fill.commission),
        "fee_asset": fill.commission_asset,
        "fee_value": _text(commission_value(fill, entry.trade.price_of_fee)),
        "liquidity": fill.liquidity_side,
        "requested_by": entry.requested_by,
        "strategy": entry.strategy,
        "client_reference": entry.client_reference,
        "recorded_at": _time(entry.recorded_at),
    }


def fee_row(entry: LedgerFill) -> Row:
    """Return what one trade was charged, or paid: below zero is a rebate."""
    fill = entry.trade.fill
    value = commission_value(fill, entry.trade.price_of_fee)
    base, quote = fill.symbol.split("/")
    prices = {base: fill.last_px, quote: Decimal(1)}
    price = prices.get(fill.commission_asset or "", entry.trade.price_of_fee)
    return {
        **_trade(entry),
        "fee": _text(fill.commission),
        "fee_asset": fill.commission_asset,
        "value": _text(value),
        "currency": quote,
        "price_of_fee_asset": _text(price),
        "liquidity": fill.liquidity_side,
    }


def _trade(entry: LedgerFill) -> dict[str, Any]:
    fill = entry.trade.fill
    return {
        "at": _time(fill.ts_event),
        "account": entry.account,
        "mode": entry.mode,
        "symbol": fill.symbol,
        "side": entry.trade.side,
        "trade_id": fill.trade_id,
        "venue_order_id": fill.venue_order_id,
        "order_id": entry.trade.order_id,
    }


class Gains:
    """The disposals of an account from its fills, symbol after symbol; only those closed at `since` or later count.

    All fills from the first on must be given, for they make the lots.
    """

    def __init__(self, method: Method, *, since: datetime) -> None:
        self._method = method
        self._since = since
        self._symbol = ""
        self._book = Book(method)

    def rows(self, entries: Iterable[LedgerFill]) -> Iterator[Row]:
        """Yield what the next fills closed."""
        for entry in entries:
            if entry.trade.fill.symbol != self._symbol:
                self._symbol, self._book = entry.trade.fill.symbol, Book(self._method)
            for disposal in self._book.take(entry.trade):
                if disposal.closed.at >= self._since:
                    yield gain_row(disposal, account=entry.account, mode=entry.mode)


def gain_row(disposal: Disposal, *, account: str, mode: TradingMode) -> Row:
    """Return one disposal."""
    base, quote = disposal.symbol.split("/")
    held = disposal.held_for
    legs = {"opened": disposal.opened, "closed": disposal.closed}
    return {
        "closed_at": _time(disposal.closed.at),
        "opened_at": _time(disposal.opened.at),
        "held_days": str(held.days) if held is not None else None,
        "account": account,
        "mode": mode,
        "symbol": disposal.symbol,
        "side": "short" if disposal.is_short else "long",
        "method": disposal.method,
        "quantity": plain(disposal.quantity),
        "proceeds": plain(disposal.proceeds),
        "cost": plain(disposal.cost),
        "gain": plain(disposal.gain),
        "fees": _fees(disposal.fees.by_asset),
        "fees_value": _text(disposal.fees.value_besides(base)),
        "net_gain": _text(disposal.net_gain),
        "currency": quote,
        "by_fee": disposal.by_fee,
        **{f"{side}_{name}": getattr(leg, name) for side, leg in legs.items() for name in _TRADE},
    }


def _fees(by_asset: Mapping[str, Fee]) -> str:
    return " + ".join(f"{plain(fee.amount)} {asset}" for asset, fee in sorted(by_asset.items()))


_DECIDED: Final = (OrderEventType.ADMITTED, OrderEventType.DENIED, OrderEventType.HELD)


def order_row(record: OrderRecord) -> Row:
    """Return one order: who asked, what was checked by which numbers, who approved, and what came of it."""
    order, approval = record.order, record.approval
    ticket = order.ticket
    amended = [event for event, _ in record.events if event.event_type is OrderEventType.AMEND_REQUESTED]
    cancel = next((event for event, _ in record.events if event.event_type is OrderEventType.CANCEL_REQUESTED), None)
    return {
        "order_id": order.order_id,
        "account": order.account,
        "exchange": order.exchange,
        "mode": order.mode,
        "symbol": ticket.symbol,
        "side": ticket.side,
        "order_type": ticket.order_type,
        "quantity": plain(ticket.quantity if ticket.quantity is not None else order.quantity),
        "price": _text(ticket.price),
        "trigger_price": _text(ticket.trigger_price),
        "time_in_force": ticket.time_in_force,
        "post_only": ticket.post_only,
        "strategy": ticket.strategy,
        "client_reference": ticket.client_reference,
        "requested_by": order.requested_by,
        "asked_at": _time(order.created_at),
        **_decision(record),
        "approval": approval.decision if approval is not None else None,
        "approval_by": approval.by if approval is not None else None,
        "approval_at": _time(approval.at) if approval is not None else None,
        "approval_because": approval.because if approval is not None else None,
        "amendments": [_amendment(event) for event in amended],
        "cancel_requested_at": _time(cancel.ts_event) if cancel is not None else None,
        "cancel_reason": cancel.reason.text if cancel is not None and cancel.reason is not None else None,
        "status": order.status,
        "reason_code": order.reason.code if order.reason is not None else None,
        "reason_text": order.reason.text if order.reason is not None else None,
        "cum_qty": plain(order.cum_qty),
        "avg_px": _text(order.avg_px),
        "fees": " + ".join(f"{plain(fee.amount)} {fee.asset}" for fee in order.commissions),
        "ended_at": _time(order.closed_at),
        "client_order_id": order.client_order_id,
        "venue_order_id": order.venue_order_id,
        "events": [_event(event) for event, _ in record.events],
    }


def _decision(record: OrderRecord) -> dict[str, Any]:
    """Tell the gate's last word, and every look that it took: a held order is checked again when it is approved."""
    decided = [(event, evidence) for event, evidence in record.events if event.event_type in _DECIDED]
    last = decided[-1][0] if decided else None
    reason = last.reason if last is not None else None
    return {
        "decision": last.event_type if last is not None else None,
        "decided_at": _time(last.ts_event) if last is not None else None,
        "decision_code": reason.code if reason is not None else None,
        "decision_text": str(reason) if reason is not None else None,
        "limits_checked": [
            {"decision": event.event_type, "at": _time(event.ts_event), "limits": json.loads(evidence)}
            for event, evidence in decided
            if evidence is not None
        ],
    }


def _amendment(event: OrderEvent) -> Row:
    return {
        "at": _time(event.ts_event),
        "quantity": _text(event.quantity),
        "price": _text(event.price),
        "requested_by": event.requested_by,
    }


def _event(event: OrderEvent) -> Row:
    told = {"at": _time(event.ts_event), "type": event.event_type}
    if event.requested_by is not None:
        told["requested_by"] = event.requested_by
    if event.reason is not None:
        told["reason"] = str(event.reason)
    if event.fill is not None:
        told["trade_id"] = event.fill.trade_id
    return told


def year_of(year: int) -> tuple[datetime, datetime]:
    """Return where a calendar year begins and ends, UTC."""
    return datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)


def _text(value: Decimal | None) -> str | None:
    return plain(value) if value is not None else None


def _time(value: datetime | None) -> str | None:
    return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z" if value is not None else None
