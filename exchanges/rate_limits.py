"""What a venue allows, as budgets: from ccxt's figures, the venue's rules, and our own cap."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from domain.errors import ConfigurationError
from domain.rate_budget import UNIT, Budget

PACED_WINDOW_MS: Final = 10_000
"""Where a venue takes no bursts, the fleet shares what fits into this time, and each process spaces its requests."""


@dataclass(frozen=True, slots=True)
class OrderLimit:
    """So many orders per window, counted by the venue beside the weight of requests."""

    orders: int
    window_s: int
    header: str | None = None
    """Response header (lower case) that tells how many were placed in the running window."""

    @property
    def name(self) -> str:
        """Return what the budget is called."""
        return f"orders-{self.window_s}s"


def budgets_of(
    api: Any, order_limits: Sequence[OrderLimit], *, places_orders: bool, per_minute: int | None
) -> tuple[Budget, ...]:
    """Return the budgets of an account at the venue of this ccxt instance.

    Parameters
    ----------
    order_limits
        The venue's; the option `orderLimits` of the account's ccxt configuration, `[[orders, seconds], ...]`, replaces
        them.
    per_minute
        Requests of any kind in a minute, 1 or more: our own cap.

    Raises
    ------
    ConfigurationError
        When `orderLimits` is not written so.
    """
    budgets = [] if per_minute is None else [Budget(name="requests", limit=per_minute * UNIT, window_ms=60_000)]
    if not api.enableRateLimit:
        return tuple(budgets)
    window_ms = int(api.rollingWindowSize) if is_rolling(api) else PACED_WINDOW_MS
    weight = max(int(window_ms / float(api.rateLimit) * UNIT), UNIT)
    budgets.append(Budget(name="weight", limit=weight, window_ms=window_ms))
    if places_orders:
        budgets += [
            Budget(name=limit.name, limit=limit.orders * UNIT, window_ms=limit.window_s * 1000, only_orders=True)
            for limit in _configured(api, order_limits)
        ]
    return tuple(budgets)


def is_rolling(api: Any) -> bool:
    """Tell whether the venue counts weight per window, with bursts allowed; else requests are spaced."""
    return bool(api.rateLimiterAlgorithm == "rollingWindow")


def spacing_s(api: Any) -> float:
    """Return the seconds between two requests of one unit of weight; 0 where bursts are allowed."""
    return 0.0 if is_rolling(api) or not api.enableRateLimit else float(api.rateLimit) / 1000


def _configured(api: Any, order_limits: Sequence[OrderLimit]) -> Sequence[OrderLimit]:
    given = api.options.get("orderLimits")
    if given is None:
        return order_limits
    headers = {limit.window_s: limit.header for limit in order_limits}
    try:
        pairs = [(int(orders), int(window_s)) for orders, window_s in given]
    except (TypeError, ValueError):
        pairs = [(0, 0)]
    if any(orders < 1 or window_s < 1 for orders, window_s in pairs):
        raise ConfigurationError("the option orderLimits must be written as [[orders, seconds], ...], both 1 or more")
    return [OrderLimit(orders, window_s, headers.get(window_s)) for orders, window_s in pairs]
