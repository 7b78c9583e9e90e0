"""A ledger with many orders, made quickly: two real ones are written by the product and copied by SQL."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.events import Fill
from domain.identifiers import derive_order_id
from domain.instrument import Instrument, NormalTicket
from domain.order import Order, OrderRequest, OrderSide, OrderTicket, OrderType, TradingMode
from domain.reports import Balance, OrderReport, SubmitOutcome, SubmitVerdict, Ticker, VenueOrderStatus
from domain.risk import AccountTerms, Validated
from domain.valuation import Mark
from storage import valuation
from storage.database import in_transaction
from storage.order_store import SqlOrderStore

ACCOUNT: Final = "bench"
SYMBOL: Final = "BTC/USDT"
QUANTITY: Final = Decimal("0.01")
TERMS: Final = AccountTerms(account=ACCOUNT, exchange="binanceus", mode=TradingMode.LIVE)
INSTRUMENT: Final = Instrument(
    symbol=SYMBOL,
    base_asset="BTC",
    quote_asset="USDT",
    tick_size=Decimal("0.01"),
    step_size=Decimal("0.0001"),
    min_notional=Decimal(5),
)
STRATEGIES: Final = ("momentum", "reversal")

_COPIES = (
    """
    INSERT INTO orders (account, order_id, idempotency_key, fingerprint, symbol, status, is_open, is_at_venue, seq,
        notify_seq, notified_seq, quantity, cum_qty, document, created_at, updated_at)
    SELECT account, :prefix || g, :prefix || g, fingerprint, symbol, status, is_open, is_at_venue, seq,
        notify_seq, notified_seq, quantity, cum_qty,
        document || jsonb_build_object('order_id', :prefix || g, 'idempotency_key', :prefix || g,
            'created_at', to_char(made.at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')), made.at, made.at
    FROM orders, generate_series(1, :count) AS g,
        LATERAL (SELECT now() AT TIME ZONE 'UTC' - (:count - g) * interval '30 days' / :count AS at) AS made
    WHERE order_id = :of ORDER BY g
    """,
    """
    INSERT INTO order_events (account, order_id, seq, event_type, document, evidence)
    SELECT account, :prefix || g, seq, event_type, document, evidence
    FROM generate_series(1, :count) AS g, order_events WHERE order_id = :of
    """,
    """
    INSERT INTO attempts (account, order_id, attempt, client_order_id, venue_order_id, token, state, worker, submission,
        outcome, signed_at, left_at)
    SELECT account, :prefix || g, attempt, :prefix || g, :prefix || g, :prefix || g, state, worker, submission,
        outcome, signed_at, left_at
    FROM generate_series(1, :count) AS g, attempts WHERE order_id = :of
    """,
    """
    INSERT INTO fills (account, symbol, venue_order_id, trade_id, order_id, last_qty, last_px, commission,
        commission_asset, liquidity_side, ts_event)
    SELECT account, symbol, :prefix || g, :prefix || g, :prefix || g, last_qty, last_px, commission, commission_asset,
        liquidity_side, ts_event
    FROM generate_series(1, :count) AS g, fills WHERE order_id = :of
    """,
    """
    INSERT INTO reservations (account, order_id, asset, amount, unit_amount, unit_price, working, working_notional,
        counted)
    SELECT account, :prefix || g, asset, amount, unit_amount, unit_price, working, working_notional, counted
    FROM generate_series(1, :count) AS g, reservations WHERE order_id = :of
    """,
)
_SUMS = (
    """
    UPDATE exposures SET amount = amount * (:ended + 1), cost = cost * (:ended + 1), traded = traded * (:ended + 1),
        day_turnover = day_turnover * 1000, working_buy = working_buy * (:open + 1),
        buy_notional = buy_notional * (:open + 1), open_orders = open_orders * (:open + 1)
    """,
    "UPDATE balances SET reserved = reserved * (:open + 1)",
    """
    INSERT INTO realizations (scope, at, account, symbol, venue_order_id, trade_id, order_id, realized, by_stop)
    SELECT scope, now() - g * interval '30 days' / :realized, 'bench', symbol, 'r' || g, 'r' || g, 'r' || g, 0.01, false
    FROM exposures, generate_series(1, :realized) AS g
    """,
    """
    INSERT INTO realized_days (scope, day, symbol, realized)
    SELECT scope, (at AT TIME ZONE 'UTC')::date, symbol, sum(realized) FROM realizations GROUP BY 1, 2, 3
    """,
)


def request(key: str, *, price: Decimal, strategy: str = STRATEGIES[0], quantity: Decimal = QUANTITY) -> OrderRequest:
    """Return what an agent asks for: a limit order to buy."""
    ticket = OrderTicket(
        symbol=SYMBOL,
        side=OrderSide.BUY,
        order_type=OrderType.LIMIT,
        quantity=quantity,
        price=price,
        strategy=strategy,
    )
    return OrderRequest(
        order_id=derive_order_id(ACCOUNT, key),
        account=ACCOUNT,
        ticket=ticket,
        idempotency_key=key,
        requested_by="desk",
        requested_at=datetime.now(UTC),
    )


def validated(asked: OrderRequest) -> Validated:
    """Return what `validate` finds for it, with fresh market data."""
    ticket, now = asked.ticket, datetime.now(UTC)
    price = Decimal(60_000)
    return Validated(
        normal=NormalTicket(quantity=ticket.quantity, price=ticket.price, trigger_price=None),
        instrument=INSTRUMENT,
        reference_price=price,
        ticker=Ticker(symbol=SYMBOL, bid=price, ask=price, last=price, ts_event=now),
    )


async def grow(engine: AsyncEngine, *, ended: int, still_open: int) -> None:
    """Fill an empty ledger with filled orders of the last thirty days, and with open ones."""
    store, now = SqlOrderStore(engine), datetime.now(UTC)
    for account in (ACCOUNT,):
        told = [_balance("USDT", Decimal(10**9)), _balance("BTC", Decimal(10**6))]
        await store.record_balances(account, told, asked_at=now - timedelta(minutes=1))
    filled = await _placed(store, "filled")
    report = _report(filled, VenueOrderStatus.CLOSED, QUANTITY)
    await store.record_report(ACCOUNT, filled.order_id, report, trades=[_fill(filled)], now=now)
    await store.finalize(ACCOUNT, filled.order_id, now=now)
    resting = await _placed(store, "resting")

    async def copy(connection: AsyncConnection) -> None:
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        # Foreign keys hold by making; checked row by row they would take minutes.
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in _COPIES:
            for prefix, count, of in (("e", ended, filled), ("o", still_open, resting)):
                named = {"prefix": prefix, "count": count, "of": of.order_id}
                await connection.execute(text(statement.replace(":prefix", ":prefix ::text")), _used(statement, named))
        named = {"ended": ended, "open": still_open, "realized": max(ended // 20, 1)}
        for statement in _SUMS:
            await connection.execute(text(statement), _used(statement, named))
        await valuation.record_marks(connection, ACCOUNT, TradingMode.LIVE, [_mark(now)])

    await in_transaction(engine, copy)
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        for statement in ("SET statement_timeout = 0", "VACUUM ANALYZE", "CHECKPOINT"):
            await connection.execute(text(statement))
    await engine.dispose()  # and with its connections go the plans that were made on the empty ledger


def _used(statement: str, named: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in named.items() if f":{name}" in statement}


async def _placed(store: SqlOrderStore, key: str) -> Order:
    asked, now = request(key, price=Decimal(60_000)), datetime.now(UTC)
    await store.admit(asked, validated(asked), terms=TERMS, now=now)
    attempt = await store.open_attempt(ACCOUNT, asked.order_id, worker="w", now=now)
    await store.pass_last_look(attempt, now=now)
    order = await store.order(ACCOUNT, asked.order_id)
    report = _report(order, VenueOrderStatus.OPEN, Decimal(0))
    return await store.record_outcome(attempt, SubmitOutcome(verdict=SubmitVerdict.ACCEPTED, report=report), now=now)


def _report(order: Order, status: VenueOrderStatus, filled: Decimal) -> OrderReport:
    told = {"symbol": SYMBOL, "venue_order_id": f"v{order.order_id}", "client_order_id": order.client_order_id}
    return OrderReport(**told, status=status, cum_qty=filled)


def _fill(order: Order) -> Fill:
    return Fill(
        symbol=SYMBOL,
        venue_order_id=f"v{order.order_id}",
        trade_id="1",
        last_qty=QUANTITY,
        last_px=Decimal(60_000),
        commission=QUANTITY / 1000,
        commission_asset="BTC",
        liquidity_side="taker",
        ts_event=datetime.now(UTC),
    )


def _balance(asset: str, total: Decimal) -> Balance:
    return Balance(asset=asset, free=total, used=Decimal(0), total=total)


def _mark(now: datetime) -> Mark:
    price = Decimal(60_000)
    return Mark(symbol=SYMBOL, bid=price, ask=price, last=price, asked_at=now)
