"""How the commands show things: tables and lines for people, exact JSON in the REST interface's words for programs."""

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from cli.exit_codes import code_of
from domain.errors import ExecutionError

if TYPE_CHECKING:
    from domain.order import Order
    from workflows.messages import OrderView

PIPE_WIDTH = 220
"""Columns of a table that no terminal shows: wide enough that no id is cut."""


def say(text: str) -> None:
    """Print a line, with nothing in it that could steer the terminal: some words are a venue's."""
    typer.echo(printable(text))


def printable(text: str) -> str:
    """Return the text with a space for every control character."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def as_json(value: object) -> None:
    """Print values of ours as one line of JSON with exact numbers."""
    from api.numbers import write_json

    typer.echo(write_json(value))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; `None` is shown as a dash."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(Text("-" if cell is None or cell == "" else printable(str(cell))) for cell in row))
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False).print(shown)


def error(failure: ExecutionError, *, json: bool) -> None:
    """Say what went wrong and what to do: a line on stderr or, for programs, JSON on stdout."""
    if json:
        told = {"code": failure.code, "detail": failure.message, "numbers": failure.numbers}
        as_json({**told, "what_to_do": failure.what_to_do})
        return
    numbers = ", ".join(f"{name}={value}" for name, value in failure.numbers.items())
    text = f"{failure.code}: {failure.message}{f' ({numbers})' if numbers else ''}. {failure.what_to_do}"
    typer.echo(printable(text), err=True)


@contextlib.contextmanager
def failures(*, json: bool) -> Iterator[None]:
    """Show an error of ours, and end the command with its exit code."""
    try:
        yield
    except ExecutionError as failure:
        error(failure, json=json)
        raise typer.Exit(code_of(failure)) from None


def moment(value: datetime | None) -> str | None:
    """Return a time as people read it, UTC."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z" if value is not None else None


def filled(order: "Order") -> str:
    """Say how much is filled, and at what price."""
    from domain.numbers import plain

    price = f" at {plain(order.avg_px)}" if order.avg_px is not None else ""
    return f"{plain(order.cum_qty)} of {plain(order.quantity)}{price}"


def status(order: "Order") -> str:
    """Say where an order stands, and since when it is in doubt."""
    if order.doubt is None:
        return str(order.status)
    kept = ", cancel kept" if order.cancel_requested else ""
    return f"{order.status} since {moment(order.doubt.since)}{kept}"


def asked(order: "Order") -> str:
    """Say what was asked for, and the price where it was amended since."""
    from domain.numbers import plain

    if order.price is None or order.price == order.ticket.price:
        return order.ticket.summary()
    return f"{order.ticket.summary()}, now @ {plain(order.price)}"


def order_line(view: "OrderView") -> str:
    """Say an order in one line."""
    order = view.order
    if order is None:
        return f"{view.order_id}  nothing is recorded yet; stage {view.stage}"
    because = f"  {order.reason}" if order.reason is not None else ""
    return f"{order.order_id}  {asked(order)}  {order.status}  filled {filled(order)}{because}"


def order_details(view: "OrderView") -> list[tuple[str, object]]:
    """Return everything that people want to know of one order, as rows."""
    from workflows.order_display import placed_at

    order = view.order
    if order is None:
        return [("id", view.order_id), ("account", view.account), ("stage", view.stage), ("workflow", view.workflow_id)]
    fees = ", ".join(f"{fee.amount:f} {fee.asset}" for fee in order.commissions)
    return [
        ("id", order.order_id),
        ("account", f"{order.account} ({order.mode})"),
        ("order", asked(order)),
        ("placement", placed_at(order)),
        ("status", f"{status(order)}{', needs attention' if order.needs_attention else ''}"),
        *_doubt(order),
        ("filled", filled(order)),
        ("fees", fees),
        ("reason", order.reason),
        ("venue order", order.venue_order_id),
        ("client order", order.client_order_id),
        ("strategy", order.ticket.strategy),
        ("reference", order.ticket.client_reference),
        ("workflow", view.workflow_id),
        ("asked for", moment(order.created_at)),
        ("changed", moment(order.updated_at)),
        ("ended", moment(order.closed_at)),
    ]


def _doubt(order: "Order") -> list[tuple[str, object]]:
    """Say of an order in doubt what the last look found, and what comes next; of one that waits, for what."""
    from domain.approvals import next_for_held
    from workflows.order_display import next_for_waiting, next_in_doubt

    if order.doubt is None and order.status == "HELD":
        return [("next", next_for_held(order))]
    if order.waits_for_trigger:
        return [("next", next_for_waiting(order))]
    if order.doubt is None:
        return []
    return [("last look", moment(order.doubt.last_looked_at)), ("next", next_in_doubt(order))]


def order_for_programs(view: "OrderView") -> object:
    """Return the order as `GET /orders/{exchange}/{id}` shows it; the little there is while nothing is recorded."""
    from api.schemas import order_json

    if view.order is not None:
        return order_json(view.order)
    pending: Mapping[str, object] = {
        "id": view.order_id,
        "exchange": view.account,
        "status": "pending",
        "lifecycle": None,
        "workflow_id": view.workflow_id,
    }
    return pending
