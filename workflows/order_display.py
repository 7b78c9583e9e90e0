"""What people see of an order in the Web UI: summaries of steps and the details page, as markdown."""

from domain.numbers import plain
from domain.order import Order, OrderTicket

SUMMARY_LENGTH_MAX = 200
"""Bytes that Temporal shows of a summary."""


def step_summary(ticket: OrderTicket, *, note: str = "") -> str:
    """Say in business nouns what a step is about: `SELL 0.1 BTC/USDT @ 61250 LIMIT GTC, attempt 2`."""
    return f"{ticket.summary()}{', ' + note if note else ''}"[:SUMMARY_LENGTH_MAX]


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
        ("attempt", str(order.attempt)),
        ("next", waiting_for),
    ]
    if order.reason is not None:
        rows.insert(1, ("because", f"{order.reason}"))
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"### {order.ticket.summary()}\n\n| | |\n|---|---|\n{table}\n"
