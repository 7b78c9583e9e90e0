"""Compares an account's ledger with Temporal and with the venue, and carries on what was left lying. Queue `venue-…`.

1. Every order of the ledger that has not ended has a workflow; one without is adopted.
2. Every order of ours at the venue is looked at (`feed_activities`), so the ledger knows what happened meanwhile.
3. Every open order at the venue is one of ours; one that is not is an orphan: reported once, never touched.
4. Totals and positions are what they should be; a difference that stands is a case with its figures.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from temporalio import activity

from activities.calls import ReconcileCall
from activities.failures import in_activity
from activities.feed_activities import Follower
from activities.reading import exchange_of
from domain.comparison import (
    BALANCE_MISMATCH,
    OPEN_AFTER_END,
    ORPHAN_ORDER,
    POSITION_MISMATCH,
    OrderWorkflows,
    Reconciled,
    ReconciliationStore,
    open_after_end,
    orphan,
    subject_at_venue,
)
from domain.order import Order
from domain.ports import Exchange
from domain.reports import OrderRef, OrderReport, VenueOrderStatus
from observability import metrics

SHOWN_AFTER_END = timedelta(seconds=20)
"""Twice the visibility lag that the time fence allows for."""
NO_LONGER_OPEN = "the venue no longer shows it as open"


class ReconcileActivities:
    """The activity behind `AccountReconcilerWorkflow`.

    Parameters
    ----------
    follower
        Makes what looks once at all of an account's working orders.
    interval_s
        Seconds between two reconciliations of an account.
    """

    def __init__(
        self,
        store: ReconciliationStore,
        *,
        exchanges: Mapping[str, Exchange],
        workflows: OrderWorkflows,
        follower: Callable[[str], Follower],
        interval_s: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._exchanges = exchanges
        self._workflows = workflows
        self._follower = follower
        self._interval_s = interval_s
        self._clock = clock

    @activity.defn(name="reconcile_account")
    async def reconcile_account(self, call: ReconcileCall) -> Reconciled:
        """Compare once. Raises for an answer that is missing: half a comparison is none."""
        async with in_activity():
            account = call.account
            with metrics.counted(lambda outcome, _: metrics.RECONCILIATIONS.labels(account, outcome).inc()):
                return await self._reconcile(account)

    async def _reconcile(self, account: str) -> Reconciled:
        exchange = exchange_of(self._exchanges, account)
        began_at = await self._store.ledger_time()
        # In this order: an order that ends in between is not unfinished any more.
        running = await self._workflows.running(account)
        unfinished = await self._store.unfinished_orders(account)
        adopted = await self._adopt(account, [order for order in unfinished if order.order_id not in running])
        await self._follower(account).round(self._clock())
        reports, opened = await self._open_orders(account, exchange)
        opened += await self._figures(account, exchange)
        await self._store.finish(account, began_at=began_at)
        metrics.ORDERS_ADOPTED.labels(account).inc(len(adopted))
        for case in opened:
            metrics.CASES_OPENED.labels(account, case.split(" ")[0]).inc()
            activity.logger.error("case_opened", extra={"account": account, "case": case})
        return Reconciled(
            account=account,
            began_at=began_at,
            unfinished=len(unfinished),
            open_at_venue=len(reports),
            adopted=tuple(adopted),
            cases=tuple(opened),
            interval_s=self._interval_s,
        )

    async def _adopt(self, account: str, left: Sequence[Order]) -> list[str]:
        """Give every order of the ledger a workflow. Temporal's list may lag, and starting one twice does nothing."""
        for order in left:
            await self._workflows.adopt(order)
            activity.logger.warning("order_adopted", extra={"account": account, "order_id": order.order_id})
        return [order.order_id for order in left]

    async def _open_orders(self, account: str, exchange: Exchange) -> tuple[Sequence[OrderReport], list[str]]:
        """Find the owner of every open order at the venue. The journal knew ours before the venue did."""
        with metrics.venue_request(account, "fetch_open_orders"):
            reports = await exchange.fetch_open_orders(None)
        owners = await self._store.owners(account, reports)
        opened: list[str] = []
        orphans, ended = set[str](), set[str]()
        for report in reports:
            subject = subject_at_venue(report)
            owner = owners.get((report.symbol, report.venue_order_id))
            if owner is None:
                orphans.add(subject)
                reason, order_id = orphan(report), None
            elif (
                self._ended_long_ago(owner) and (fresh := await self._still_open(account, exchange, report)) is not None
            ):
                ended.add(subject)
                reason, order_id = open_after_end(owner, fresh), owner.order_id
            else:
                continue
            now = self._clock()
            if await self._store.open_case(account, subject, reason, order_id=order_id, now=now):
                opened.append(f"{reason.code} {subject}")
        for code, still in ((ORPHAN_ORDER, orphans), (OPEN_AFTER_END, ended)):
            await self._store.close_others(account, code, but=still, resolution=NO_LONGER_OPEN, now=self._clock())
        return reports, opened

    def _ended_long_ago(self, order: Order) -> bool:
        """Tell whether an order has ended for longer than a venue may go on showing it as open."""
        return order.closed_at is not None and self._clock() - order.closed_at > SHOWN_AFTER_END

    async def _still_open(self, account: str, exchange: Exchange, report: OrderReport) -> OrderReport | None:
        """Ask again: the order may have ended between the venue's list and our look at the ledger."""
        ref = OrderRef(
            symbol=report.symbol,
            client_order_id=report.client_order_id or "",
            venue_order_id=report.venue_order_id,
        )
        with metrics.venue_request(account, "fetch_order"):
            fresh = await exchange.fetch_order(ref)
        return fresh if fresh is not None and fresh.status is VenueOrderStatus.OPEN else None

    async def _figures(self, account: str, exchange: Exchange) -> list[str]:
        asked_at = self._clock()
        with metrics.venue_request(account, "fetch_balances"):
            told = await exchange.fetch_balances()
        assets = await self._store.compare_balances(account, told, asked_at=asked_at)
        symbols = await self._store.compare_positions(account, now=self._clock())
        return [f"{BALANCE_MISMATCH} {asset}" for asset in assets] + [
            f"{POSITION_MISMATCH} {symbol}" for symbol in symbols
        ]
