"""Ledger ↔ Temporal ↔ venue: what a reconciliation compares, and what it needs from outside.

The venue says what happened, the ledger keeps it, Temporal carries each order on. What does not fit is a case with
its evidence; nothing at the venue is ever touched for it.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from pydantic import AwareDatetime

from domain.events import Reason
from domain.instrument import deny
from domain.order import Frozen, Order
from domain.reports import Balance, OrderReport

CASE_ID_MAX = 2**63 - 1
"""Cases are numbered from 1 on, across accounts; the ledger keeps 64 bits."""
ORPHAN_ORDER = "ORPHAN_ORDER"
"""An open order at the venue that no attempt of ours accounts for. Reported once, never touched."""
OPEN_AFTER_END = "OPEN_AFTER_END"
"""The venue shows an order as open that has ended in the ledger."""
BALANCE_MISMATCH = "BALANCE_MISMATCH"
"""The venue's total of an asset is not what it was plus our fills: a deposit, a withdrawal, or a trade not ours."""
LEDGER_RESTORED = "LEDGER_RESTORED"
"""The ledger came back without its last facts: a copy of an earlier moment, or a standby that was behind."""
POSITION_MISMATCH = "POSITION_MISMATCH"
"""A position is not the sum of the account's fills: a defect of ours."""


class Case(Frozen):
    """A matter that needs a person: what does not fit, with its evidence."""

    case_id: int
    account: str
    subject: str
    """What it is about: an order's id, `order SYMBOL VENUE_ORDER_ID` at the venue, or `asset NAME`."""
    order_id: str | None = None
    code: str
    reason: Reason
    opened_at: AwareDatetime
    closed_at: AwareDatetime | None = None
    resolution: str | None = None


class Reconciled(Frozen):
    """What one reconciliation of an account found."""

    account: str
    began_at: AwareDatetime
    """By the ledger's clock."""
    unfinished: int = 0
    """Orders of the ledger that have not been persisted to their end."""
    open_at_venue: int = 0
    adopted: tuple[str, ...] = ()
    """Orders that no workflow carried, and one does now."""
    cases: tuple[str, ...] = ()
    """Cases opened by it, as `CODE subject`."""
    interval_s: float
    """Seconds until the next one."""
    adopted_in_all: int = 0
    """Orders adopted since the account's reconciler was started; Temporal without its store starts a new one."""


class ReconciliationStore(Protocol):
    """The ledger as the reconciler sees it. Each method is one transaction. Raises `StoreUnavailable`."""

    async def ledger_time(self) -> datetime:
        """Return the ledger's time, UTC: a reconciliation that begins now is as of this moment."""

    async def unfinished_orders(self, account: str) -> Sequence[Order]:
        """Return the orders that are not persisted to their end, oldest first."""

    async def owners(self, account: str, reports: Sequence[OrderReport]) -> Mapping[tuple[str, str], Order]:
        """Return the orders that reports are about, by the reports' (symbol, venue order id)."""

    async def open_case(
        self, account: str, subject: str, reason: Reason, *, order_id: str | None, now: datetime
    ) -> bool:
        """Open a case of the reason's code; false when the subject ever had one: it is reported once."""

    async def close_others(self, account: str, code: str, *, but: Collection[str], resolution: str,
                          now: datetime) -> Sequence[str]:  # fmt: skip
        """Close the open cases of a code, except those of some subjects; return the subjects of the closed."""

    async def compare_balances(self, account: str, told: Sequence[Balance], *, asked_at: datetime) -> Sequence[str]:
        """Compare the venue's totals with what should be there; return the assets of which a case was opened."""

    async def compare_positions(self, account: str, *, now: datetime) -> Sequence[str]:
        """Compare positions with the sums of the fills; return the symbols of which a case was opened."""

    async def finish(self, account: str, *, began_at: datetime) -> None:
        """Record that the account was compared with its venue, as of `began_at`."""


class CaseStore(Protocol):
    """The cases, for a person who closes one. Raises `StoreUnavailable`."""

    async def close_case(self, account: str, case_id: int, *, resolution: str, now: datetime) -> Case:
        """Close a case by its number; asked again with the same words and time, it is still the same closing.

        The mark on the case's order goes off with the last of its open cases. Raises `CaseNotFound`, `CaseClosed`.
        """


class Beat(Frozen):
    """One round of an account's feed, as the ledger counts it."""

    count: int
    started_anew: bool
    """Whether the account was unserved before it: it is reconciled before new orders are admitted."""


class LedgerRepairStore(Protocol):
    """The ledger when it may have come back from a copy of an earlier moment. Raises `StoreUnavailable`."""

    async def beat(self, account: str, *, known: int) -> Beat | None:
        """Count one beat of the account's feed; `None` when the count is behind `known`: the ledger has lost facts."""

    async def recorded_until(self) -> datetime:
        """Return when the ledger's latest fact was recorded: what came later is lost."""

    async def restore(self, told: Order, *, now: datetime) -> bool:
        """Write what Temporal remembers of an order beyond the ledger; false when the ledger knows as much."""

    async def doubt_all(self, account: str, *, now: datetime) -> Sequence[str]:
        """Put every order in doubt of which an attempt may have been sent and forgotten; return their ids."""

    async def accept(self, account: str, *, beat: int, reason: Reason, now: datetime) -> None:
        """Take the ledger for the truth again, open a case that says what was lost, and await a reconciliation."""


class OrderWorkflows(Protocol):
    """The orders as Temporal carries them."""

    async def remembered(self, account: str, *, since: datetime) -> Sequence[Order]:
        """Return the account's orders as their workflows know them: all that run, and all that ended after `since`."""

    async def running(self, account: str) -> Collection[str]:
        """Return the ids of the account's orders with a running workflow. It may lag by a second."""

    async def adopt(self, order: Order) -> None:
        """Start a workflow that carries on an order of the ledger, unless one runs."""

    async def reconcile_soon(self, account: str, *, why: str) -> None:
        """Ask for a reconciliation of the account that begins after this."""


def subject_at_venue(report: OrderReport) -> str:
    """Name an order at the venue: its ids are unique per symbol at best."""
    return f"order {report.symbol} {report.venue_order_id}"


def orphan(report: OrderReport) -> Reason:
    """Say that an open order at the venue is none of ours."""
    return deny(
        ORPHAN_ORDER,
        "the venue holds an open order that was not placed through this ledger; it is left alone",
        symbol=report.symbol,
        venue_order_id=report.venue_order_id,
        client_order_id=report.client_order_id or "",
        quantity=report.quantity if report.quantity is not None else "not told",
        price=report.price if report.price is not None else "not told",
    )


def open_after_end(order: Order, report: OrderReport) -> Reason:
    """Say that the venue shows an order as open that has ended here."""
    return deny(
        OPEN_AFTER_END,
        f"the order is {order.status} here, and open at the venue",
        venue_order_id=report.venue_order_id,
        cum_qty=order.cum_qty,
        venue_cum_qty=report.cum_qty if report.cum_qty is not None else "not told",
    )
