"""Metrics of what the ledger knows, for the page of the REST interface: seen also when every worker is dead.

A worker that gave an account to another one would go on showing what it saw last; the ledger does not.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from domain.observing import AccountSeen, LedgerState, OrdersSeen

NEVER: Final = float("inf")
_ACCOUNT: Final = ("account",)
STATE_METRICS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "volex_component_up": (
        "1 while a part answers: database, temporal, and vault where one is configured",
        ("component",),
    ),
    "volex_venue_up": ("1 while the account's venue answers the workers, else 0", _ACCOUNT),
    "volex_venue_answer_age_seconds": ("Seconds since the venue's last whole answer; +Inf: never", _ACCOUNT),
    "volex_venue_latency_seconds": ("Seconds that the venue's last word on its clock took", _ACCOUNT),
    "volex_venue_clock_skew_seconds": ("Our clock minus the venue's, as far as that is certain", _ACCOUNT),
    "volex_venue_pause_seconds": ("Seconds for which the venue still wants no request; 0: none", _ACCOUNT),
    "volex_rate_budget_used_ratio": (
        "Share of a venue's budget that the fleet has spent or leased, 0 to 1",
        ("account", "budget"),
    ),
    "volex_feed_age_seconds": ("Seconds since the account's feed ended a whole round; +Inf: never", _ACCOUNT),
    "volex_reconciliation_age_seconds": (
        "Seconds since the account was last compared with its venue; +Inf: never",
        _ACCOUNT,
    ),
    "volex_reconciled_timestamp_seconds": ("When the account was last compared with its venue", _ACCOUNT),
    "volex_account_ready": ("1 while orders of the account are admitted: served and reconciled", _ACCOUNT),
    "volex_orders_open": ("Open orders by lifecycle status", ("account", "status")),
    "volex_orders_in_doubt": ("Orders of which the venue has not yet said whether it has them", _ACCOUNT),
    "volex_oldest_doubt_age_seconds": ("Seconds that the longest doubt lasts so far; 0 without any", _ACCOUNT),
    "volex_orders_held": ("Orders that wait for a person's approval", _ACCOUNT),
    "volex_oldest_held_timestamp_seconds": ("Since when the longest held order waits; 0 without any", _ACCOUNT),
    "volex_cases_open": ("Open matters that need a person, by code", ("account", "code")),
    "volex_reserved_amount": ("What open orders have reserved, units of the asset", ("account", "asset")),
    "volex_kill_switch": ("1 for each kill switch that is on; none: no series", ("scope",)),
    "volex_kill_switches_on": ("How many kill switches are on", ()),
}
"""Name, meaning and labels of each; the order is that of the page."""


def render_state(state: LedgerState | None, *, accounts: Iterable[str], components: Mapping[str, bool]) -> bytes:
    """Return them as Prometheus reads them.

    Parameters
    ----------
    state
        `None` while the ledger does not answer: then only the parts are shown, and nothing is made up.
    accounts
        The configured ones: each is shown, also when the ledger knows nothing of it.
    """
    families = {
        name: GaugeMetricFamily(name, meaning, labels=labels) for name, (meaning, labels) in STATE_METRICS.items()
    }
    for component, is_up in components.items():
        families["volex_component_up"].add_metric([component], int(is_up))
    if state is not None:
        for account in accounts:
            seen = state.accounts.get(account, AccountSeen(account=account))
            orders = state.orders.get(account, OrdersSeen())
            for name, labels, value in (*_account(seen, state.now_s), *_orders(orders, state.now_s)):
                families[name].add_metric([account, *labels], value)
        for scope in state.kill_switches:
            families["volex_kill_switch"].add_metric([scope], 1)
        families["volex_kill_switches_on"].add_metric([], len(state.kill_switches))
    return generate_latest(_Once([family for family in families.values() if family.samples]))


Sample = tuple[str, tuple[str, ...], float]


def _account(seen: AccountSeen, now_s: float) -> Iterator[Sample]:
    venue = seen.venue
    yield "volex_venue_up", (), int(venue.is_up)
    yield "volex_venue_answer_age_seconds", (), _or_never(venue.answer_age_s)
    yield "volex_venue_pause_seconds", (), venue.pause_s
    yield "volex_feed_age_seconds", (), _or_never(seen.feed_age_s)
    yield "volex_reconciliation_age_seconds", (), _or_never(seen.reconciliation_age_s)
    yield "volex_account_ready", (), int(seen.is_ready)
    if venue.latency_ms is not None:
        yield "volex_venue_latency_seconds", (), venue.latency_ms / 1000
    if venue.clock_skew_ms is not None:
        yield "volex_venue_clock_skew_seconds", (), venue.clock_skew_ms / 1000
    if seen.reconciliation_age_s is not None:
        yield "volex_reconciled_timestamp_seconds", (), now_s - seen.reconciliation_age_s


def _orders(seen: OrdersSeen, now_s: float) -> Iterator[Sample]:
    held = seen.by_status.get("HELD", 0)
    yield "volex_orders_in_doubt", (), seen.by_status.get("IN_DOUBT", 0)
    yield "volex_oldest_doubt_age_seconds", (), seen.oldest_doubt_age_s
    yield "volex_orders_held", (), held
    yield "volex_oldest_held_timestamp_seconds", (), now_s - seen.oldest_held_age_s if held else 0
    for status, count in seen.by_status.items():
        yield "volex_orders_open", (status,), count
    for code, count in seen.cases.items():
        yield "volex_cases_open", (code,), count
    for asset, amount in seen.reserved.items():
        yield "volex_reserved_amount", (asset,), float(amount)
    for budget in seen.budgets:
        yield "volex_rate_budget_used_ratio", (budget.name,), budget.used / max(budget.limit, 1)


def _or_never(age_s: float | None) -> float:
    return NEVER if age_s is None else age_s


class _Once(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
