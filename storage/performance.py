"""`SqlPerformanceReader`: execution quality as people read it, order by order and summed by a key."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.performance import STAGES, GroupBy, Latency, OrderPerformance, PerformanceGroup, Quantiles, Selection
from storage.database import in_transaction

_KEYS: Final[Mapping[GroupBy, str]] = {
    GroupBy.SYMBOL: "symbol",
    GroupBy.STRATEGY: "coalesce(strategy, '')",
    GroupBy.VENUE: "venue",
    GroupBy.ACCOUNT: "account",
}
_SELECTED: Final = """
    FROM unnest(:accounts ::text[], :modes ::text[]) AS asked (of_account, of_mode)
    JOIN performance p ON p.account = of_account AND p.mode = of_mode
    WHERE placed_at >= :since AND placed_at < :until AND symbol = coalesce(:symbol ::text, symbol)
      AND venue = coalesce(:venue ::text, venue)
      AND (:strategy ::text IS NULL OR coalesce(strategy, '') = :strategy)
"""


def _ratio(numerator: str, denominator: str, *, times: int = 10_000) -> str:
    ratio = f"(({numerator})::numeric(300, 60) * {times} / nullif({denominator}, 0))"
    return f"CASE WHEN abs({ratio}) < 1e18 THEN round({ratio}, 18) END"


def _quantiles(figure: str, name: str) -> str:
    return ", ".join(
        f"percentile_disc({share}) WITHIN GROUP (ORDER BY {figure}) AS {name}_{suffix}"
        for share, suffix in (("0.5", "p50"), ("0.95", "p95"))
    )


_ARRIVED: Final = "FILTER (WHERE cum_qty > 0 AND execution_cost IS NOT NULL)"
_AT_MID: Final = "FILTER (WHERE cum_qty > 0 AND mid_price IS NOT NULL)"
_WITH_FEES: Final = "FILTER (WHERE cum_qty > 0 AND fees_value IS NOT NULL)"
_SIDE: Final = "CASE WHEN side = 'buy' THEN 1 ELSE -1 END"
_GROUPS: Final = f"""
    SELECT {{key}} AS key, p.mode, p.currency, count(*) AS orders, count(*) FILTER (WHERE cum_qty > 0) AS filled,
        round(avg(fill_ratio), 18) AS fill_ratio, coalesce(sum(notional), 0) AS notional,
        count(*) {_ARRIVED} AS with_arrival,
        {_ratio(f"sum(execution_cost) {_ARRIVED}", f"sum(arrival_notional) {_ARRIVED}")} AS slippage_bps,
        {_quantiles("slippage_bps", "slippage")},
        count(*) {_AT_MID} AS with_mid,
        {
    _ratio(
        f"sum({_SIDE} * (notional - mid_price * cum_qty)) {_AT_MID}",
        f"sum(mid_price * cum_qty) {_AT_MID}",
    )
} AS mid_slippage_bps,
        count(*) {_WITH_FEES} AS with_fees, coalesce(sum(fees_value), 0) AS fees_value,
        {_ratio(f"sum(fees_value) {_WITH_FEES}", f"sum(notional) {_WITH_FEES}")} AS fees_bps,
        count(shortfall) AS with_shortfall, coalesce(sum(shortfall), 0) AS shortfall,
        {_ratio("sum(shortfall)", "sum(ordered_notional) FILTER (WHERE shortfall IS NOT NULL)")} AS shortfall_bps,
        {", ".join(_quantiles(f"{stage}_us", stage) for stage in STAGES)}
    {_SELECTED}
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
_ORDERS: Final = text(
    f"""
    SELECT p.* {_SELECTED}
      AND (:at ::timestamptz IS NULL OR (p.placed_at, p.order_id) < (:at ::timestamptz, :order_id ::text))
    ORDER BY p.placed_at DESC, p.order_id DESC LIMIT :limit
    """
)


class SqlPerformanceReader:
    """Implements `domain.performance.PerformanceReader` over Postgres."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def groups(self, selection: Selection, by: GroupBy) -> Sequence[PerformanceGroup]:
        """Return the sums, by key."""
        query = text(_GROUPS.format(key=_KEYS[by]))
        return [_group(row) for row in await self._read(query, _asked(selection))]

    async def orders(
        self, selection: Selection, *, limit: int, before: tuple[datetime, str] | None
    ) -> Sequence[OrderPerformance]:
        """Return orders, newest first, from before the one named."""
        at, order_id = before or (None, None)
        rows = await self._read(_ORDERS, {**_asked(selection), "limit": limit, "at": at, "order_id": order_id})
        return [
            OrderPerformance.model_validate({name: row._mapping[name] for name in OrderPerformance.model_fields})
            for row in rows
        ]

    async def _read(self, query: Any, values: Mapping[str, object]) -> Sequence[Row[tuple[Any, ...]]]:
        async def read(connection: AsyncConnection) -> Sequence[Row[tuple[Any, ...]]]:
            return (await connection.execute(query, values)).all()

        return await in_transaction(self._engine, read)


def _asked(selection: Selection) -> dict[str, object]:
    return {
        "accounts": list(selection.accounts),
        "modes": list(selection.accounts.values()),
        **selection.model_dump(include={"since", "until", "symbol", "strategy", "venue"}),
    }


def _group(row: Row[tuple[Any, ...]]) -> PerformanceGroup:
    named = dict(row._mapping)
    slippage = Quantiles(p50=named.pop("slippage_p50"), p95=named.pop("slippage_p95"))
    latency = {stage: Latency(p50=named.pop(f"{stage}_p50"), p95=named.pop(f"{stage}_p95")) for stage in STAGES}
    return PerformanceGroup(**named, slippage=slippage, latency_us=latency)
