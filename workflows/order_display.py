"""What people see of an order in the Web UI: summaries of steps and the details page, as markdown."""

from datetime import UTC, datetime

from domain.lifecycle import OrderStatus
from domain.numbers import plain
from domain.order import Order, OrderTicket
from domain.placement import Placement

SUMMARY_LENGTH_MAX = 200
"""Bytes that Temporal shows of a summary."""


def step_summary(ticket: OrderTicket, *, note: str = "") -> str:
    """Say in business nouns what a step is about: `SELL 0.1 BTC/USDT @ 61250 LIMIT GTC, attempt 2`."""
    return f"{ticket.summary()}{', ' + note if note else ''}"[:SUMMARY_LENGTH_MAX]


def next_in_doubt(order: Order) -> str | None:
    """Say what comes next for an order in doubt, as a sentence; `None` for every other."""
    doubt = order.doubt
    if order.status is not OrderStatus.IN_DOUBT or doubt is None or doubt.last_looked_at is None:
        return "the venue is asked for it" if order.status is OrderStatus.IN_DOUBT else None
    if doubt.fence_ends_at is not None:
        return f"the venue is asked again; what it does not show after {_moment(doubt.fence_ends_at)} was never placed"
    return f"the venue is asked again; a person decides: {resolve_command(order)}"


UNDECIDED = (OrderStatus.INITIALIZED, OrderStatus.SUBMITTED, OrderStatus.HELD, OrderStatus.IN_DOUBT)
"""The venue, or a person, has not said yet what becomes of the order."""


def is_undecided(order: Order) -> bool:
    """Tell whether a caller's answer is still to come; for a stop that we hold nobody waits so long."""
    return order.status in UNDECIDED and not order.waits_for_trigger


def waits_for_trigger(order: Order) -> str:
    """Say what a stop that we hold waits for: `held by us until the last price is 44000 or below`."""
    trigger = plain(order.trigger_price) if order.trigger_price is not None else "?"
    return (
        f"held by us until the {order.ticket.trigger_by} price is {trigger} or {'above' if order.is_buy else 'below'}"
    )


def next_for_waiting(order: Order) -> str | None:
    """Say what comes next for a stop that we hold, as a sentence; `None` for every other order."""
    if not order.waits_for_trigger:
        return None
    return f"{waits_for_trigger(order)}; then a {order.sent_as} order is sent"


def placed_at(order: Order) -> str | None:
    """Say where the order is worked, and what triggered it; `None` for orders from before this was kept."""
    if order.placement is not Placement.HELD:
        return "native: worked by the venue" if order.placement is Placement.NATIVE else None
    crossing = order.triggered
    if crossing is None:
        return "held by us until its trigger"
    trade = f", trade {crossing.trade_id}" if crossing.trade_id is not None else ""
    at = _moment(crossing.ts_event)
    return f"held by us; triggered by the {crossing.by} price {plain(crossing.price)} at {at}{trade}"


def resolve_command(order: Order) -> str:
    """Return the command by which a person decides on the order."""
    return (
        f"volex order resolve {order.order_id} --account {order.account} --placed VENUE_ORDER_ID | --never-placed "
        '--because "WHY"'
    )


def _doubt_rows(order: Order) -> list[tuple[str, str]]:
    """Say since when, what was asked, when absence is proof, and what a person can do."""
    doubt = order.doubt
    if order.status is not OrderStatus.IN_DOUBT or doubt is None:
        return []
    looked, fence = doubt.last_looked_at, doubt.fence_ends_at
    asked = f"for {order.client_order_id}, last at {_moment(looked)}: not there" if looked else "no whole answer yet"
    proof = "never on this venue, it has no time fence" if looked else "not known yet"
    return [
        ("in doubt since", _moment(doubt.since)),
        ("the venue was asked", asked),
        ("absence is proof", f"from {_moment(fence)}" if fence else proof),
        ("a person can decide", f"`{resolve_command(order)}`".replace("|", "or")),
        *([("cancel", "asked for; carried out once the order is known")] if order.cancel_requested else []),
    ]


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def details(order: Order, *, stage: str, waiting_for: str) -> str:
    """Write the details page: where the order stands, what it has filled, and what happens next."""
    average = plain(order.avg_px) if order.avg_px is not None else "none yet"
    commissions = ", ".join(f"{plain(c.amount)} {c.asset}" for c in order.commissions) or "none yet"
    rows = [
        ("status", f"**{order.status}**"),
        ("stage", stage),
        ("filled", f"{plain(order.cum_qty)} of {plain(order.quantity)} at {average}"),
        ("commissions", commissions),
        ("client order id", order.client_order_id or "not sent yet"),
        ("venue order id", order.venue_order_id or "not known yet"),
        ("mode", order.mode),
        ("placement", placed_at(order) or "not kept"),
        ("attempt", str(order.attempt)),
        *_doubt_rows(order),
        ("next", waiting_for),
    ]
    if order.reason is not None:
        rows.insert(1, ("because", f"{order.reason}"))
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"### {order.ticket.summary()}\n\n| | |\n|---|---|\n{table}\n"
