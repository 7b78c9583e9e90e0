"""Execution quality over REST: sums by a key, and the orders behind them. docs/execution-quality.md has the figures."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, Field

from api.context import Ctx, answer
from api.numbers import write_time
from api.schemas import Number
from domain.numbers import EXACT
from domain.order import TradingMode
from domain.performance import STAGES, GroupBy, Latency, OrderPerformance, PerformanceGroup, Quantiles, Selection

router = APIRouter(tags=["performance"])

DEFAULT_WINDOW: Final = timedelta(days=1)
Milliseconds = Annotated[Number | None, Field(description="milliseconds, by the ledger's clock")]


class QuantilesJson(BaseModel):
    """Half are at or below `p50`, 95 of 100 at or below `p95`."""

    p50: Number | None
    p95: Number | None


class PerformanceJson(BaseModel):
    """How a group of orders was executed. Costs are positive, gains negative; `null` is not known."""

    key: str = Field(description="what they have in common; empty: orders without a strategy")
    mode: str
    currency: str = Field(description="quote asset, of every amount here")
    orders: int = Field(description="ended orders, without those that we denied")
    filled: int
    fill_ratio: Number | None = Field(description="mean of the orders' ratios")
    notional: Number = Field(description="what was traded")
    with_arrival: int = Field(description="filled orders whose arrival price is known: the slippage is theirs")
    slippage_bps: Number | None = Field(description="against the arrival price, weighted by notional")
    slippage: QuantilesJson = Field(description="of the orders' own slippages, bps")
    with_mid: int
    mid_slippage_bps: Number | None = Field(description="against the mid price at each fill, weighted by notional")
    with_fees: int
    fees: Number
    fees_bps: Number | None
    with_shortfall: int
    implementation_shortfall: Number = Field(description="execution cost, cost of what was not filled, and fees")
    implementation_shortfall_bps: Number | None
    latency_ms: dict[str, QuantilesJson]


class OrderPerformanceJson(BaseModel):
    """How one order was executed."""

    id: str
    exchange: str = Field(description="name of the account")
    venue: str
    placed_at: datetime
    mode: str
    symbol: str
    currency: str
    side: str
    order_type: str
    strategy: str | None
    lifecycle: str
    amount: Number
    filled: Number
    fill_ratio: Number | None
    fills: int
    arrival_price: Number | None
    arrival_source: str | None = Field(description="quote, mark, or trigger for a stop")
    arrival_spread_bps: Number | None
    average: Number | None
    mid_price: Number | None = Field(description="mean of the mid prices at the fills, weighted by quantity")
    notional: Number | None
    slippage_bps: Number | None
    mid_slippage_bps: Number | None
    fees: Number | None
    execution_cost: Number | None
    opportunity_cost: Number | None
    implementation_shortfall: Number | None
    implementation_shortfall_bps: Number | None
    first_fill_at: datetime | None = Field(description="the venue's time")
    last_fill_at: datetime | None
    ended_at: datetime | None
    latency_ms: dict[str, Milliseconds]


def _selection(
    context: Ctx,
    since: Annotated[AwareDatetime | None, Query(description="placed from then on; a day ago if left out")] = None,
    until: Annotated[AwareDatetime | None, Query(description="placed before; now if left out")] = None,
    exchange: Annotated[str | None, Query(max_length=32, description="name of an account; all if left out")] = None,
    mode: Annotated[TradingMode | None, Query(description="each account's own if left out; never mixed")] = None,
    symbol: Annotated[str | None, Query(max_length=64)] = None,
    strategy: Annotated[str | None, Query(max_length=64, description="empty: orders without one")] = None,
    venue: Annotated[str | None, Query(max_length=32, description="ccxt id")] = None,
) -> Selection:
    until = until or datetime.now(UTC)
    names = [context.venues.check_account(exchange)] if exchange is not None else list(context.settings.accounts)
    return Selection(
        accounts={name: mode or context.settings.mode_of(name) for name in names},
        since=since or until - DEFAULT_WINDOW,
        until=until,
        symbol=symbol,
        strategy=strategy,
        venue=venue,
    )


Selected = Annotated[Selection, Depends(_selection)]


@router.get("/performance", response_model=list[PerformanceJson])
async def performance(context: Ctx, selection: Selected, by: GroupBy = GroupBy.SYMBOL) -> Response:
    """Return how well ended orders were executed, by symbol, strategy, venue or account; modes are never mixed."""
    found = await context.performance.groups(selection, by)
    return answer([group_json(group) for group in found])


@router.get("/performance/orders", response_model=list[OrderPerformanceJson])
async def performance_of_orders(
    request: Request,
    context: Ctx,
    selection: Selected,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[str | None, Query(pattern="^[0-9a-f]{16}$", description="last id of the page before")] = None,
    before_at: Annotated[AwareDatetime | None, Query(description="its `placed_at`")] = None,
) -> Response:
    """Return the orders behind the sums, newest first. The `Link` header leads to the next page."""
    found = await context.performance.orders(
        selection, limit=limit, before=(before_at, before or "") if before_at is not None else None
    )
    headers = {}
    if len(found) == limit:
        last = found[-1]
        pinned = {"since": write_time(selection.since), "until": write_time(selection.until)}
        following = request.url.include_query_params(
            **pinned, before=last.order_id, before_at=write_time(last.placed_at)
        )
        headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    return answer([order_json(order) for order in found], headers=headers)


def group_json(group: PerformanceGroup) -> PerformanceJson:
    """Return a group in the wire's words."""
    same = ("key", "mode", "currency", "orders", "filled", "fill_ratio", "notional", "with_arrival", "slippage_bps")
    more = ("with_mid", "mid_slippage_bps", "with_fees", "fees_bps", "with_shortfall")
    return PerformanceJson(
        **{name: getattr(group, name) for name in (*same, *more)},
        slippage=_quantiles(group.slippage),
        fees=group.fees_value,
        implementation_shortfall=group.shortfall,
        implementation_shortfall_bps=group.shortfall_bps,
        latency_ms={stage: _latency(group.latency_us[stage]) for stage in STAGES},
    )


def order_json(order: OrderPerformance) -> OrderPerformanceJson:
    """Return an order's figures in the wire's words."""
    words: Mapping[str, Any] = {
        "id": order.order_id,
        "exchange": order.account,
        "lifecycle": order.status,
        "amount": order.quantity,
        "filled": order.cum_qty,
        "average": order.avg_px,
        "fees": order.fees_value,
        "implementation_shortfall": order.shortfall,
        "implementation_shortfall_bps": order.shortfall_bps,
        "latency_ms": {stage: _ms(getattr(order, f"{stage}_us")) for stage in STAGES},
    }
    same = {name: getattr(order, name) for name in OrderPerformanceJson.model_fields if name not in words}
    return OrderPerformanceJson(**words, **same)


def _quantiles(told: Quantiles) -> QuantilesJson:
    return QuantilesJson(p50=told.p50, p95=told.p95)


def _latency(told: Latency) -> QuantilesJson:
    return QuantilesJson(p50=_ms(told.p50), p95=_ms(told.p95))


def _ms(us: int | None) -> Number | None:
    return EXACT.scaleb(us, -3) if us is not None else None
