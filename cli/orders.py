"""`volex order …`: place, show, list, watch, cancel and amend orders through Temporal."""

import asyncio
import getpass
import os
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from re import fullmatch
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from cli import render
from cli.exit_codes import EPILOG, ExitCode
from cli.stack import DataDir

if TYPE_CHECKING:
    from domain.order import Order, OrderRequest, OrderTicket
    from starter.client import ExecutionClient
    from workflows.messages import OrderView

app: Final = typer.Typer(help="Place, watch and change orders.", no_args_is_help=True, epilog=EPILOG)

REQUESTED_BY: Final = "cli"
_REFUSED: Final = ("DENIED", "REJECTED")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
Work = Callable[["ExecutionClient", str], Awaitable[ExitCode]]
"""What a command does with the client and the account's name."""


def who() -> str:
    """Return who is logged in, as far as the system knows, and that it was the command line: `cli:jo`."""
    try:
        return f"{REQUESTED_BY}:{getpass.getuser()}"
    except (KeyError, OSError):
        return REQUESTED_BY


def _figure(text: str) -> Decimal:
    from domain.numbers import parse_amount

    try:
        figure = parse_amount(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if figure == 0:
        raise typer.BadParameter("must be above zero")
    return figure


def _duration(text: str) -> timedelta:
    if not (found := fullmatch(r"([1-9][0-9]{0,6})([smhd])", text)):
        raise typer.BadParameter(f"{text[:40]!r} is not a duration such as 90s, 15m, 2h or 14d")
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.min
    if moment.tzinfo is None:
        raise typer.BadParameter(f"{text[:40]!r} is not a time with its zone, such as 2026-12-31T12:00:00Z")
    return moment.astimezone(UTC)


def _key(text: str) -> str:
    if not fullmatch(r"[\x21-\x7e]{1,255}", text):
        raise typer.BadParameter("1 to 255 visible ASCII characters")
    return text


Account = Annotated[str | None, typer.Option("--account", "-a", help="The default account if left out.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, with the REST interface's words.")]
OrderName = Annotated[str, typer.Argument(metavar="ID", help="The order's id: 16 digits of 0-9 and a-f.")]
Timeout = Annotated[float, typer.Option("--timeout-s", min=0.1, max=86400, help="Seconds to wait.")]
Price = Annotated[Decimal | None, typer.Option(parser=_figure, metavar="PRICE", help="Quote units per base unit.")]


Side = Annotated[Literal["BUY", "SELL"], typer.Argument(case_sensitive=False)]
TimeInForce = Annotated[
    Literal["GTC", "GTD", "IOC", "FOK"],
    typer.Option(case_sensitive=False, help="Time in force; GTD with --expires-in or --expires-at."),
]
TriggerBy = Annotated[Literal["last", "mid"], typer.Option(help="Price that triggers a stop; by mid we hold it.")]
ExpiresIn = Annotated[
    timedelta | None, typer.Option(parser=_duration, metavar="TIME", help="End it after 90s, 15m, 2h, 14d.")
]
ExpiresAt = Annotated[
    datetime | None, typer.Option(parser=_moment, metavar="TIME", help="End it then: 2026-12-31T12:00:00Z.")
]
Key = Annotated[
    str | None,
    typer.Option(parser=_key, metavar="KEY", help="Idempotency key: repeated with it, nothing new is placed."),
]
Wait = Annotated[Literal["venue", "final"], typer.Option(help="For the venue's answer, or for the end.")]


@app.command(epilog=EPILOG)
def place(
    side: Side,
    amount: Annotated[Decimal, typer.Argument(parser=_figure, metavar="AMOUNT", help="Base units, or see --quote.")],
    symbol: Annotated[str, typer.Argument(help="BASE/QUOTE")],
    quote: Annotated[bool, typer.Option("--quote", help="AMOUNT is in quote units; market orders only.")] = False,
    limit: Price = None,
    stop: Price = None,
    tif: TimeInForce = "GTC",
    trigger_by: TriggerBy = "last",
    post_only: Annotated[bool, typer.Option("--post-only", help="Only rest in the book, never take.")] = False,
    expires_in: ExpiresIn = None,
    expires_at: ExpiresAt = None,
    strategy: Annotated[str | None, typer.Option(help="A label of yours.")] = None,
    reference: Annotated[str | None, typer.Option(help="Your own number for it.")] = None,
    on_never_placed: Annotated[
        Literal["resubmit", "give_up"], typer.Option(help="What follows when the venue never got it.")
    ] = "resubmit",
    key: Key = None,
    wait: Wait = "venue",
    timeout_s: Timeout = 30.0,
    account: Account = None,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Place an order: market, or limit with --limit, stop with --stop, stop-limit with both.

    Examples:

    volex order place BUY 0.01 BTC/USDT

    volex order place SELL 0.01 BTC/USDT --limit 65000 --expires-in 2h

    volex order place BUY 0.01 BTC/USDT --key rebalance-7 --wait final --json
    """
    ticket = _ticket(
        symbol=symbol,
        side=side.lower(),
        order_type=_order_type(limit, stop),
        **{"quote_amount" if quote else "quantity": amount},
        price=limit,
        trigger_price=stop,
        time_in_force=tif,
        post_only=post_only,
        expires_at=_deadline(expires_in, expires_at, key),
        strategy=strategy,
        client_reference=reference,
        on_never_placed=on_never_placed,
        trigger_by=trigger_by,
    )
    run(_placing(ticket, key, wait, timeout_s, json=json), account, json=json, data_dir=data_dir)


def _deadline(expires_in: timedelta | None, expires_at: datetime | None, key: str | None) -> datetime | None:
    if expires_in is None:
        return expires_at
    if key is not None or expires_at is not None:
        raise typer.BadParameter("--expires-in makes another order each time; with --key, use --expires-at")
    return datetime.now(UTC) + expires_in


def _placing(
    ticket: "OrderTicket", key: str | None, wait: Literal["venue", "final"], timeout_s: float, *, json: bool
) -> Work:
    async def work(client: "ExecutionClient", account: str) -> ExitCode:
        from starter.client import new_request

        request = new_request(ticket, account=account, idempotency_key=key, requested_by=who())
        view = await _placed(client, request, wait, timeout_s)
        _show(view, json=json)
        still_open = view.order is not None and not view.order.is_final
        return ExitCode.UNDECIDED if wait == "final" and still_open else _outcome(view.order)

    return work


def _order_type(limit: Decimal | None, stop: Decimal | None) -> str:
    if stop is not None:
        return "stop" if limit is None else "stop-limit"
    return "market" if limit is None else "limit"


def _ticket(**fields: object) -> "OrderTicket":
    from pydantic import ValidationError

    from domain.order import OrderTicket

    try:
        return OrderTicket.model_validate(fields)
    except ValidationError as error:
        problems = {str(found["loc"][0]): found["msg"] for found in error.errors()}
        if "symbol" in problems:
            problems["symbol"] = "use the form BASE/QUOTE, in capitals"
        raise typer.BadParameter("; ".join(f"{name}: {problem}" for name, problem in problems.items())) from None


async def _placed(
    client: "ExecutionClient", request: "OrderRequest", wait: Literal["venue", "final"], timeout_s: float
) -> "OrderView":
    try:
        return await client.place(request, wait=wait, timeout_s=timeout_s)
    except asyncio.CancelledError:
        # Ctrl-C ends the waiting, not the order: its name is what its sender needs now.
        typer.echo(f"Interrupted. The order may be placed: volex order show {request.order_id}", err=True)
        raise


@app.command(epilog=EPILOG)
def show(order: OrderName, account: Account = None, json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show one order.

    Example: volex order show a3f0c2d4e5b60718
    """

    async def work(client: "ExecutionClient", account: str) -> ExitCode:
        view = await client.get_order(order, account=account)
        if json:
            render.as_json(render.order_for_programs(view))
        else:
            render.table(("", ""), render.order_details(view))
        return ExitCode.DONE

    run(work, account, json=json, data_dir=data_dir)


@app.command("list", epilog=EPILOG)
def list_orders(
    state: Annotated[
        Literal["open", "closed", "in_doubt", "all"],
        typer.Option("--status", help="Which; closed is whatever has ended, open includes those in doubt."),
    ] = "all",
    symbol: Annotated[str | None, typer.Option(help="Only of this symbol.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many.")] = 20,
    before: Annotated[str | None, typer.Option(metavar="ID", help="Only those placed before this order.")] = None,
    account: Account = None,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """List orders that Temporal keeps, newest first. The REST interface lists the ledger's, however old.

    Example: volex order list --status open --symbol BTC/USDT
    """

    async def work(client: "ExecutionClient", account: str) -> ExitCode:
        from domain.lifecycle import OrderStatus

        views = await client.list_orders(
            account=account,
            is_open={"open": True, "closed": False, "in_doubt": True}.get(state),
            status=OrderStatus.IN_DOUBT if state == "in_doubt" else None,
            symbol=symbol,
            limit=limit,
            before=before,
        )
        if json:
            render.as_json([render.order_for_programs(view) for view in views])
            return ExitCode.DONE
        rows: list[tuple[object, ...]] = []
        for view in views:
            made = view.order
            if made is None:
                rows.append((view.order_id, "", view.stage, "", ""))
            else:
                at = render.moment(made.created_at)
                rows.append((view.order_id, render.asked(made), render.status(made), render.filled(made), at))
        render.table(("id", "order", "status", "filled", "asked for"), rows)
        return ExitCode.DONE

    run(work, account, json=json, data_dir=data_dir)


@app.command(epilog=EPILOG)
def watch(
    order: OrderName,
    timeout_s: Timeout = 3600.0,
    account: Account = None,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Print an order now and at each change, until it has ended. With --json one line each.

    Example: volex order watch a3f0c2d4e5b60718 --timeout-s 60
    """

    async def work(client: "ExecutionClient", account: str) -> ExitCode:
        last: Order | None = None
        async for view in client.watch_order(order, account=account, timeout_s=timeout_s):
            _show(view, json=json)
            last = view.order
        return _outcome(last) if last is not None and last.is_final else ExitCode.UNDECIDED

    run(work, account, json=json, data_dir=data_dir)


@app.command(epilog=EPILOG)
def cancel(
    order: OrderName,
    because: Annotated[str, typer.Option(help="Recorded with it.")] = "asked for",
    account: Account = None,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Cancel an order and say what came of it: canceled, or filled before the cancel arrived.

    Example: volex order cancel a3f0c2d4e5b60718
    """

    async def work(client: "ExecutionClient", account: str) -> ExitCode:
        view = await client.cancel_order(order, account=account, requested_by=REQUESTED_BY, because=because)
        _show(view, json=json)
        if not json and view.order is not None and view.order.status == "IN_DOUBT":
            render.say("The order is in doubt: the cancel is kept, and carried out once the order is known.")
        return ExitCode.DONE if view.order is not None and view.order.is_final else ExitCode.UNDECIDED

    run(work, account, json=json, data_dir=data_dir)


@app.command(epilog=EPILOG)
def amend(
    order: OrderName,
    amount: Annotated[
        Decimal | None, typer.Option(parser=_figure, metavar="AMOUNT", help="New total, with what is filled.")
    ] = None,
    price: Price = None,
    account: Account = None,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Change the amount or the price of a resting limit order.

    Example: volex order amend a3f0c2d4e5b60718 --price 61000.5
    """
    if amount is None and price is None:
        raise typer.BadParameter("name a new --amount, a new --price, or both")

    async def work(client: "ExecutionClient", account: str) -> ExitCode:
        view = await client.amend_order(order, account=account, quantity=amount, price=price, requested_by=REQUESTED_BY)
        _show(view, json=json)
        running = view.order is None or view.order.amend_quantity is not None or view.order.status == "PENDING_CANCEL"
        return ExitCode.UNDECIDED if running else _outcome(view.order)

    run(work, account, json=json, data_dir=data_dir)


def _show(view: "OrderView", *, json: bool) -> None:
    if json:
        render.as_json(render.order_for_programs(view))
    else:
        render.say(render.order_line(view))


def _outcome(order: "Order | None") -> ExitCode:
    from workflows.order_display import is_undecided

    if order is None or is_undecided(order):
        return ExitCode.UNDECIDED
    return ExitCode.REFUSED if order.status in _REFUSED else ExitCode.DONE


def run(work: Work, account: str | None, *, json: bool, data_dir: Path | None) -> None:
    """Connect, do it, and end with its exit code."""

    async def connected() -> ExitCode:
        from cli.addresses import find
        from starter.client import ExecutionClient

        addresses = find(data_dir)
        name = addresses.account(account)
        client = await ExecutionClient.from_settings(
            addresses.settings, identity=f"cli@{socket.gethostname()}#{os.getpid()}"
        )
        return await work(client, name)

    with render.failures(json=json):
        raise typer.Exit(asyncio.run(connected()))
