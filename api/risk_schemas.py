"""The gate's shapes on the wire."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from api.problems import as_numbers
from api.schemas import Moment, Number, OrderBody, OrderJson, ReasonJson, order_json, reason_json
from domain.decisions import Because
from domain.exposure import ZERO, SymbolExposure, Validated
from domain.limit_changes import Change, Effect, changes_between, effect_of_all
from domain.limits import Limits
from domain.order import Label, OrderSide, OrderTicket, TradingMode
from domain.rehearsal import Outcome, Rehearsal
from domain.risk import Answer, Finding, worst_price
from domain.risk_agent import RISK_AGENT
from domain.risk_desk import Changed, Discrepancy, LimitVersion, ScopeUse, Simulated


class SimulateBody(OrderBody):
    """Body of `POST /risk/simulate`: that of `POST /orders`, and who would ask."""

    requested_by: Label | None = Field(default=None, description="who would ask for it; `rest` if left out")


class LimitsBody(BaseModel):
    """Body of `PATCH /risk/limits`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scope: str = Field(
        max_length=80,
        description="accounts (all that say nothing themselves), firm, account:NAME, symbol:BTC/USDT, strategy:NAME "
        "or key:NAME",
    )
    limits: dict[str, Any] = Field(min_length=1, description="by name, as in the file; null takes one away")
    because: Because = Field(description="why, for the record")
    requested_by: Label | None = Field(default=None, description="who changes them; `rest` if left out")


class TryBody(BaseModel):
    """Body of `POST /risk/try`: other limits as the file has them under `[risk]`, and since when."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    risk: dict[str, Any]
    since: Moment | None = Field(default=None, description="24 hours ago if left out")


class FindingJson(BaseModel):
    """One limit that was looked at."""

    limit: str
    scope: str
    answer: Answer
    code: str
    text: str
    numbers: dict[str, Number | str]
    shadow: bool = Field(description="true: it is only recorded, and does not hold")


class ReservationJson(BaseModel):
    """What the order would reserve."""

    currency: str
    amount: Number


class SimulatedJson(BaseModel):
    """What the gate would say now, with every limit that it looks at. Nothing was recorded or reserved."""

    answer: Answer
    reason: ReasonJson | None
    findings: list[FindingJson]
    reservation: ReservationJson | None
    exchange: str
    mode: TradingMode
    symbol: str
    amount: Number | None = Field(description="base units that would go to the venue; null: it fits no order there")
    rounded_from: Number | None = Field(description="the amount asked for, when it was rounded down to the step")
    price: Number | None
    stop_price: Number | None
    measured_at: Number | None = Field(description="quote units per base unit that the limits measure it at")
    limits_version: int | None
    not_asked: list[str] = Field(description="risk_agent: it is asked about orders alone, and may say no")
    at: datetime
    order: OrderJson | None = Field(description="set when the order is recorded already")


class LimitsJson(BaseModel):
    """The limits that hold: `accounts` for every account that says nothing itself, and those of scopes."""

    version: int
    source: str = Field(description="file: the configuration; operator: somebody's change")
    changed_by: str
    because: str
    changed_at: datetime
    accounts: dict[str, Any]
    scopes: dict[str, dict[str, Any]]
    currency: str
    equal_assets: list[str]


class ChangeJson(BaseModel):
    """One limit that became another; `null` is no limit."""

    scope: str
    limit: str
    before: str | None
    after: str | None
    effect: Effect


class VersionJson(BaseModel):
    """One version of the limits, and what it changed."""

    version: int
    source: str
    changed_by: str
    because: str
    changed_at: datetime
    effect: Effect = Field(description="loosens: at least one limit allows more than before")
    changes: list[ChangeJson]


class ChangedJson(BaseModel):
    """What a change came to; without changes it is the version of before."""

    version: int | None
    effect: Effect
    changes: list[ChangeJson]


class LimitUseJson(BaseModel):
    """One limit of a scope and what is used of it; `used` is `null` for limits of single orders, and if not known."""

    limit: str
    cap: Number | str
    used: Number | str | None
    symbol: str | None
    missing: str | None
    inherited: bool = Field(description="true: it stands with the limits of every account")
    shadow: bool


class HeldJson(BaseModel):
    """What a scope holds and works of one symbol."""

    symbol: str
    held: Number
    working_buy: Number
    working_sell: Number
    worst_long: Number = Field(description="base units held if all buys were filled")
    worst_short: Number = Field(description="base units short if all sells were filled")
    open_orders: int
    turnover: Number = Field(description="quote units traded since midnight UTC")
    price: Number | None


class ScopeJson(BaseModel):
    """A scope: its limits with their use, and what it holds and works."""

    scope: str
    mode: TradingMode
    open_orders: int
    limits: list[LimitUseJson]
    symbols: list[HeldJson]


class VerdictJson(BaseModel):
    """An order that would have fared otherwise, or nobody knows."""

    id: str
    exchange: str
    order: str
    decided_at: datetime
    then: Answer
    outcome: Outcome
    limit: str | None
    scope: str | None
    code: str | None
    text: str
    numbers: dict[str, Number | str]


class RehearsalJson(BaseModel):
    """What other limits would have said to the orders of the past."""

    since: datetime
    until: datetime
    orders: int
    unchanged: int
    verdicts: list[VerdictJson]
    unknown: dict[str, int] = Field(description="orders by limit that nothing can be said about")
    notes: list[str] = Field(description="what the answer rests on, and what it leaves out")


class DiscrepancyJson(BaseModel):
    """A figure of a scope that is not the sum of the facts."""

    scope: str
    symbol: str
    figure: str
    row: str
    facts: str


class AuditJson(BaseModel):
    """Whether every scope holds and works what orders and fills add up to."""

    consistent: bool
    differences: list[DiscrepancyJson]


def finding_json(finding: Finding) -> FindingJson:
    """Return a finding in the wire's words."""
    told = dict(finding)
    return FindingJson.model_construct(**{**told, "numbers": as_numbers(finding.numbers)})


def simulated_json(
    simulated: Simulated,
    validated: Validated | None,
    *,
    account: str,
    mode: TradingMode,
    ticket: OrderTicket,
    asks_agent: bool,
) -> SimulatedJson:
    """Return what the gate would say in the wire's words."""
    decision, order = simulated.decision, simulated.order
    normal = validated.normal if validated is not None else None
    reservation = decision.reservation if decision is not None else None
    reference = validated.reference_price if validated is not None else None
    return SimulatedJson.model_construct(
        answer=decision.answer if decision is not None else Answer.ALLOW,
        reason=reason_json(decision.reason) if decision is not None else None,
        findings=[finding_json(finding) for finding in decision.findings] if decision is not None else [],
        reservation=ReservationJson(currency=reservation.asset, amount=reservation.amount) if reservation else None,
        exchange=account,
        mode=mode,
        symbol=ticket.symbol,
        amount=normal.quantity if normal is not None else None,
        rounded_from=normal.rounded_from if normal is not None else None,
        price=normal.price if normal is not None else None,
        stop_price=normal.trigger_price if normal is not None else None,
        measured_at=worst_price(ticket, normal, reference) if normal is not None else None,
        limits_version=simulated.version,
        not_asked=[RISK_AGENT] if asks_agent else [],
        at=simulated.at,
        order=order_json(order) if order is not None else None,
    )


def _set(limits: Limits) -> dict[str, object]:
    return {name: value for name, value in limits if value is not None}


def limits_json(version: LimitVersion) -> LimitsJson:
    """Return the limits in the wire's words."""
    return LimitsJson.model_construct(
        version=version.version,
        source=version.source,
        changed_by=version.changed_by,
        because=version.because,
        changed_at=version.changed_at,
        accounts=_set(version.limits.accounts),
        scopes={
            scope: _set(limits) for scope, limits in sorted(version.limits.by_scope.items()) if not limits.is_empty
        },
        currency=version.limits.currency,
        equal_assets=list(version.limits.equal_assets),
    )


def _changes(changes: Sequence[Change]) -> list[ChangeJson]:
    return [ChangeJson.model_construct(**dict(change)) for change in changes]


def version_json(version: LimitVersion, previous: LimitVersion) -> VersionJson:
    """Return a version, and what it changed of the one before it."""
    changes = changes_between(previous.limits, version.limits)
    return VersionJson.model_construct(
        **version.model_dump(exclude={"limits"}), effect=effect_of_all(changes), changes=_changes(changes)
    )


def changed_json(changed: Changed) -> ChangedJson:
    """Return what a change came to."""
    version = changed.version.version if changed.version is not None else None
    return ChangedJson.model_construct(
        version=version, effect=effect_of_all(changed.changes), changes=_changes(changed.changes)
    )


def _number(text: str | None) -> object:
    return None if text is None else as_numbers({"": text})[""]


def scope_json(use: ScopeUse) -> ScopeJson:
    """Return a scope in the wire's words."""
    limits = [
        LimitUseJson.model_construct(**{**dict(limit), "cap": _number(limit.cap), "used": _number(limit.used)})
        for limit in use.limits
    ]
    return ScopeJson.model_construct(
        scope=use.scope,
        mode=use.mode,
        open_orders=use.open_orders,
        limits=limits,
        symbols=[_held(row) for row in use.symbols if not row.is_idle or row.turnover],
    )


def _held(row: SymbolExposure) -> HeldJson:
    return HeldJson.model_construct(
        symbol=row.symbol,
        held=row.traded,
        working_buy=row.working_buy,
        working_sell=row.working_sell,
        worst_long=row.worst_quantity(OrderSide.BUY, ZERO),
        worst_short=row.worst_quantity(OrderSide.SELL, ZERO),
        open_orders=row.open_orders,
        turnover=row.turnover,
        price=row.mark,
    )


def rehearsal_json(rehearsal: Rehearsal) -> RehearsalJson:
    """Return a rehearsal in the wire's words."""
    return RehearsalJson.model_construct(
        since=rehearsal.since,
        until=rehearsal.until,
        orders=rehearsal.orders,
        unchanged=rehearsal.unchanged,
        verdicts=[
            VerdictJson.model_construct(
                id=verdict.order_id,
                exchange=verdict.account,
                order=verdict.summary,
                numbers=as_numbers(verdict.numbers),
                **verdict.model_dump(exclude={"order_id", "account", "summary", "numbers"}),
            )
            for verdict in rehearsal.verdicts
        ],
        unknown=dict(rehearsal.unknown),
        notes=list(rehearsal.notes),
    )


def audit_json(found: Sequence[Discrepancy]) -> AuditJson:
    """Return what an audit found."""
    return AuditJson.model_construct(
        consistent=not found,
        differences=[DiscrepancyJson.model_construct(**dict(difference)) for difference in found],
    )
