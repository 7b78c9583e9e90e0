"""The gate as an operator sees it: what it would say, what each limit is used up to, and the limits' versions."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from pydantic import AwareDatetime

from domain.controls import CONTROLS, RATE_WINDOWS, Control, Missing
from domain.decisions import Because
from domain.exposure import ZERO, Asked, Exposure, ScopeFigures, SymbolExposure, Validated
from domain.limit_changes import Change, written
from domain.limits import Limits, LimitSet
from domain.order import Frozen, Label, Order, OrderRequest, OrderSide, TradingMode
from domain.risk import AccountTerms, Decision
from domain.risk_replay import PER_SCOPE, PER_SYMBOL, Recorded


class LimitVersion(Frozen):
    """One set of limits as it stands in the ledger."""

    version: int
    limits: LimitSet
    source: str
    """`file` or `operator`."""
    changed_by: str
    because: str
    changed_at: AwareDatetime


class LimitUse(Frozen):
    """One limit of a scope, and what is used of it now, as the gate would measure an order of nothing."""

    limit: str
    cap: str
    used: str | None = None
    """`None` for a limit of single orders, and when `missing` says why it is not known."""
    symbol: str | None = None
    """For limits that hold by symbol."""
    missing: str | None = None
    inherited: bool = False
    """Whether it stands with the limits of every account, and not with the scope's own."""
    shadow: bool = False


class ScopeUse(Frozen):
    """A scope: its limits with their use, and what it holds and works."""

    mode: TradingMode
    scope: str
    open_orders: int
    symbols: tuple[SymbolExposure, ...]
    limits: tuple[LimitUse, ...]


class Simulated(Frozen):
    """What the gate would say. `order` is set instead when the order is recorded already."""

    decision: Decision | None
    order: Order | None
    version: int | None
    """Of the limits; `None` when there are none."""
    at: AwareDatetime


class Changed(Frozen):
    """A new version of the limits, and what is another than before. Without changes it is the old version."""

    version: LimitVersion | None
    changes: tuple[Change, ...]


class Discrepancy(Frozen):
    """A figure of a scope that is not the sum of the facts."""

    scope: str
    symbol: str
    figure: str
    row: str
    facts: str


class RiskDesk(Protocol):
    """The gate's side of the ledger for operators. Raises `StoreUnavailable`."""

    async def simulate(
        self, request: OrderRequest, validated: Validated, *, terms: AccountTerms, now: datetime
    ) -> Simulated:
        """Ask the gate by the path of every order, and record nothing."""

    async def limits(self) -> LimitVersion | None:
        """Return the limits that hold; `None` when none were ever set."""

    async def versions(self, *, limit: int, before: int | None) -> Sequence[LimitVersion]:
        """Return up to `limit` versions below `before`, newest first."""

    async def change(
        self, scope: str, wanted: Mapping[str, object], *, because: Because, changed_by: Label, now: datetime
    ) -> Changed:
        """Make a new version of the current one. Raises `InvalidRequest`; see `domain.limit_changes.changed`."""

    async def scopes(
        self,
        mode: TradingMode,
        *,
        accounts: Sequence[str],
        scope: str | None,
        after: str | None,
        limit: int,
        now: datetime,
    ) -> Sequence[ScopeUse]:
        """Return scopes of a mode that have limits, or hold or work something, and those of `accounts`, by name."""

    async def audit(self) -> Sequence[Discrepancy]:
        """Compare what scopes hold and work with the sums of orders and fills."""

    async def recorded(self, *, since: datetime, limit: int) -> Recorded:
        """Return what happened since then, and what it began from, for a rehearsal of other limits."""


def uses(figures: ScopeFigures, own: Limits, *, admitted: Mapping[str, int], now: datetime) -> tuple[LimitUse, ...]:
    """Return every limit of the scope with what is used of it.

    Parameters
    ----------
    own
        The scope's own limits; what else `figures` has is inherited from those of every account.
    admitted
        Orders admitted within the window of each rate limit.
    """
    controls = {control.limit: control for control in CONTROLS}
    if not figures.symbols:
        figures = figures.model_copy(update={"symbols": (SymbolExposure(symbol="", rate=ZERO),)})
    told: list[LimitUse] = []
    for name, value in figures.limits:
        if value is None or name == "shadow":
            continue
        common = LimitUse(
            limit=name,
            cap=written(value) or "",
            inherited=getattr(own, name) is None,
            shadow=name in (figures.limits.shadow or ()),
        )
        if name in RATE_WINDOWS:
            told.append(common.model_copy(update={"used": str(admitted.get(name, 0))}))
        elif name == "max_open_orders":
            told.append(common.model_copy(update={"used": str(figures.open_orders())}))
        elif name in PER_SYMBOL:
            told += _by_symbol(controls[name], common, figures, now)
        elif name in PER_SCOPE:
            told.append(_measured(controls[name], common, figures, figures.symbols[0].symbol, now, PER_SCOPE[name]))
        else:
            told.append(common)
    return tuple(told)


def _by_symbol(control: Control, common: LimitUse, figures: ScopeFigures, now: datetime) -> list[LimitUse]:
    caps = figures.limits.max_position_quantity if control.limit == "max_position_quantity" else None
    symbols = sorted(caps) if caps is not None else [row.symbol for row in figures.symbols if not row.is_idle]
    found = []
    for symbol in symbols:
        use = _measured(control, common, figures, symbol, now, PER_SYMBOL[control.limit])
        found.append(use.model_copy(update={"symbol": symbol, **({"cap": written(caps[symbol])} if caps else {})}))
    return found or [common]


def _measured(
    control: Control, common: LimitUse, figures: ScopeFigures, symbol: str, now: datetime, name: str
) -> LimitUse:
    """Ask the control about an order of nothing, to either side: the worse of the two is what is used."""
    used = ZERO
    exposure = Exposure(reconciled=True, available=None, scopes=(figures,))
    for side in OrderSide:
        asked = Asked(
            symbol=symbol,
            side=side,
            quantity=ZERO,
            price=ZERO,
            limit_price=None,
            ticker=None,
            book=None,
            scope=figures,
            exposure=exposure,
            now=now,
        )
        found = control.judge(asked)
        if isinstance(found, Missing):
            return common.model_copy(update={"missing": found.text})
        used = max(used, Decimal(found.numbers.get(name, "0")))
    return common.model_copy(update={"used": written(used)})
