"""`volex risk show|set|unset|history|simulate|try|audit`: the limits, their use, and what the gate would say."""

import json as json_text
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from cli import orders, render
from cli.account import AsJson, reaching
from cli.exit_codes import EPILOG, ExitCode
from cli.orders import Account, ExpiresAt, ExpiresIn, Price, Side, TimeInForce, who
from cli.stack import DataDir

app: Final = typer.Typer(help="Limits, their use, and what the gate would say.", no_args_is_help=True, epilog=EPILOG)

Scope = Annotated[
    str, typer.Argument(help="accounts (all of them), firm, account:NAME, symbol:BTC/USDT, strategy:NAME or key:NAME.")
]
Because = Annotated[str, typer.Option(help="Why: it is recorded with the change.")]
TRY_TIMEOUT_S: Final = 120.0
USE_COLUMNS: Final = ("scope", "limit", "symbol", "used", "of", "")
HELD_COLUMNS: Final = ("scope", "symbol", "held", "working buy", "working sell", "open", "turnover today", "price")
FINDING_COLUMNS: Final = ("limit", "scope", "says", "numbers")
CHANGE_COLUMNS: Final = ("scope", "limit", "before", "after", "effect")
VERSION_COLUMNS: Final = ("version", "at", "by", "why", "effect", "changes")
VERDICT_COLUMNS: Final = ("id", "order", "then", "now", "limit", "scope", "numbers")
_ENDS: Final = {"ALLOW": ExitCode.DONE, "DENY": ExitCode.REFUSED, "HOLD": ExitCode.UNDECIDED,
                "UNAVAILABLE": ExitCode.UNREACHABLE}  # fmt: skip


@app.command(epilog=EPILOG)
def show(
    scope: Annotated[str | None, typer.Option("--scope", help="Only this one.")] = None,
    mode: Annotated[
        Literal["paper", "sandbox", "live"] | None, typer.Option(help="The default account's if left out.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many scopes.")] = 100,
    after: Annotated[str | None, typer.Option(metavar="SCOPE", help="Only those after this one.")] = None,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Show the limits of every scope with what is used of each now, and who changed them last.

    Example: volex risk show --scope account:binanceus
    """
    wanted = {"scope": scope, "mode": mode, "limit": str(limit), "after": after}
    with reaching(data_dir, json=json) as rest:
        page = rest.get("/risk/exposures", **{name: value for name, value in wanted.items() if value is not None})
        holds = rest.get("/risk/limits")
    if json:
        typer.echo(f'{{"limits":{holds},"scopes":{page}}}')
        return
    told, scopes = _read(holds), _read(page)
    render.say(
        f"Limits, version {told['version']}: by {told['changed_by']} at {told['changed_at']}: {told['because']} "
        f"(sums in {told['currency']})"
    )
    render.table(USE_COLUMNS, (_use(entry["scope"], use) for entry in scopes for use in entry["limits"]))
    held = [(entry["scope"], row) for entry in scopes for row in entry["symbols"]]
    if held:
        names = ("symbol", "held", "working_buy", "working_sell", "open_orders", "turnover", "price")
        render.table(HELD_COLUMNS, ([name, *(row[column] for column in names)] for name, row in held))
    if len(scopes) == limit:
        typer.echo(f"More: volex risk show --after {scopes[-1]['scope']}", err=True)


def _use(scope: str, use: Mapping[str, Any]) -> list[object]:
    notes = [use["missing"]] if use["missing"] else []
    notes += ["shadow: only recorded"] if use["shadow"] else []
    notes += ["of every account"] if use["inherited"] else []
    used = "?" if use["missing"] else use["used"]
    return [scope, use["limit"], use["symbol"], used, use["cap"], "; ".join(notes)]


@app.command("set", epilog=EPILOG)
def set_limits(
    scope: Scope,
    limits: Annotated[list[str], typer.Argument(metavar="NAME=VALUE…", help="max_order_notional=5000")],
    because: Because,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Set limits of a scope. They count from the answer on; the change is a new version with your name and reason.

    Examples:

    volex risk set account:binanceus max_order_notional=5000 max_open_orders=20 --because "a calm week"

    volex risk set firm max_position_quantity.BTC/USDT=3.217 --because "as agreed"
    """
    _change(scope, _values(limits), because, json=json, data_dir=data_dir)


@app.command(epilog=EPILOG)
def unset(
    scope: Scope,
    limits: Annotated[list[str], typer.Argument(metavar="NAME…", help="max_order_notional")],
    because: Because,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Take limits of a scope away. An account then has those of every account again.

    Example: volex risk unset account:binanceus max_order_notional --because "the file's is enough"
    """
    _change(scope, _values([f"{name}=" for name in limits]), because, json=json, data_dir=data_dir)


def _values(texts: Sequence[str]) -> dict[str, Any]:
    """Read `NAME=VALUE` and `NAME.SYMBOL=VALUE`; an empty value takes the limit away."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"{text[:60]!r} is not NAME=VALUE")
        name, dot, symbol = name.partition(".")
        if dot:
            found.setdefault(name, {})[symbol] = value or None
        else:
            found[name] = value or None
    return found


def _change(scope: str, limits: Mapping[str, Any], because: str, *, json: bool, data_dir: Path | None) -> None:
    body = {"scope": scope, "limits": limits, "because": because, "requested_by": who()}
    with reaching(data_dir, json=json) as rest:
        answer = rest.patch("/risk/limits", body)
    if json:
        typer.echo(answer)
        return
    told = _read(answer)
    if not told["changes"]:
        render.say("Nothing changes: the limits are so already.")
        return
    words = {"tightens": "tightened", "loosens": "LOOSENED", "changes": "changed"}
    render.say(f"The limits are {words[told['effect']]}: version {told['version']}, counting from now on.")
    render.table(CHANGE_COLUMNS, (tuple(change[name] for name in CHANGE_COLUMNS) for change in told["changes"]))


@app.command(epilog=EPILOG)
def history(
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many versions.")] = 20,
    before: Annotated[int | None, typer.Option(min=1, metavar="VERSION", help="Only those before this one.")] = None,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """List the versions of the limits, newest first: who changed what, and why.

    Example: volex risk history --limit 5
    """
    wanted = {"limit": str(limit), **({"before": str(before)} if before is not None else {})}
    with reaching(data_dir, json=json) as rest:
        page = rest.get("/risk/limits/versions", **wanted)
    if json:
        typer.echo(page)
        return
    rows = []
    for version in _read(page):
        changes = "; ".join(
            f"{change['scope']} {change['limit']}: {change['before'] or '-'} -> {change['after'] or '-'}"
            for change in version["changes"]
        )
        told = [version[name] for name in ("version", "changed_at", "changed_by", "because", "effect")]
        rows.append([*told, changes])
    render.table(VERSION_COLUMNS, rows)


@app.command(epilog=EPILOG)
def simulate(
    side: Side,
    amount: Annotated[Decimal, typer.Argument(parser=orders._figure, metavar="AMOUNT", help="Base units.")],
    symbol: Annotated[str, typer.Argument(help="BASE/QUOTE")],
    limit: Price = None,
    stop: Price = None,
    tif: TimeInForce = "GTC",
    post_only: Annotated[bool, typer.Option("--post-only", help="Only rest in the book, never take.")] = False,
    expires_in: ExpiresIn = None,
    expires_at: ExpiresAt = None,
    strategy: Annotated[str | None, typer.Option(help="A label of yours.")] = None,
    by: Annotated[str | None, typer.Option(metavar="NAME", help="Who would ask; who is logged in if left out.")] = None,
    account: Account = None,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Say what would happen to an order now, and why. Nothing is placed, recorded or reserved.

    Example: volex risk simulate BUY 0.01 BTC/USDT --limit 65000
    """
    ends = orders._deadline(expires_in, expires_at, None)
    body = {
        "exchange": account,
        "symbol": symbol,
        "side": side.lower(),
        "order_type": orders._order_type(limit, stop),
        "amount": amount,
        "price": limit,
        "stop_price": stop,
        "time_in_force": tif.upper(),
        "post_only": post_only,
        "expires_at": ends,
        "strategy": strategy,
        "requested_by": by or who(),
    }
    with reaching(data_dir, json=json) as rest:
        answer = rest.post("/risk/simulate", body)
    if json:
        typer.echo(answer)
        raise typer.Exit(_ENDS[_read(answer)["answer"]])
    told = _read(answer)
    reason = told["reason"]
    numbers = _numbers(reason["numbers"]) if reason else ""
    render.say(f"{told['answer']}" + (f": {reason['code']}: {numbers or reason['text']}" if reason else ""))
    if told["rounded_from"] is not None:
        render.say(f"The amount would be rounded down from {told['rounded_from']} to {told['amount']}.")
    if told["reservation"] is not None:
        render.say(f"It would reserve {told['reservation']['amount']} {told['reservation']['currency']}.")
    render.table(FINDING_COLUMNS, (_finding(finding) for finding in told["findings"]))
    raise typer.Exit(_ENDS[told["answer"]])


def _finding(finding: Mapping[str, Any]) -> list[object]:
    says = finding["answer"] + (" (shadow)" if finding["shadow"] else "")
    return [finding["limit"], finding["scope"], says, _numbers(finding["numbers"]) or finding["text"]]


def _numbers(numbers: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in numbers.items())


@app.command("try", epilog=EPILOG)
def try_limits(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A volex.toml, or what it has under risk.")],
    since: Annotated[
        timedelta, typer.Option(parser=orders._duration, metavar="TIME", help="Look back 90s, 15m, 2h, 14d.")
    ] = "24h",  # type: ignore[assignment]  # typer parses a default given as text
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Try other limits on the orders of the past: which would have been denied, held or admitted. Nothing changes.

    Example: volex risk try tighter.toml --since 2d
    """
    body = {"risk": _table_of(file), "since": (datetime.now(UTC) - since).isoformat()}
    with reaching(data_dir, json=json) as rest:
        answer = rest.post("/risk/try", body, timeout_s=TRY_TIMEOUT_S)
    if json:
        typer.echo(answer)
        return
    told = _read(answer)
    render.say(f"{told['orders']} orders since {told['since']}: {told['unchanged']} fare as they did.")
    render.table(VERDICT_COLUMNS, (_verdict(verdict) for verdict in told["verdicts"]))
    for limit, count in told["unknown"].items():
        render.say(f"Not known for {count} orders: {limit}")
    for note in told["notes"]:
        typer.echo(render.printable(note), err=True)


def _table_of(file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise typer.BadParameter(f"{file}: {error}") from None
    table: dict[str, Any] = values.get("risk", values)
    return table


def _verdict(verdict: Mapping[str, Any]) -> list[object]:
    names = ("id", "order", "then", "outcome", "limit", "scope")
    return [*(verdict[name] for name in names), _numbers(verdict["numbers"]) or verdict["text"]]


@app.command(epilog=EPILOG)
def audit(json: AsJson = False, data_dir: DataDir = None) -> None:
    """Compare what every scope holds and works with the sums of orders and fills; exit code 1 on a difference.

    Example: volex risk audit
    """
    with reaching(data_dir, json=json) as rest:
        answer = rest.get("/risk/audit")
    told = _read(answer)
    if json:
        typer.echo(answer)
    elif told["consistent"]:
        render.say("Every scope holds and works what orders and fills add up to.")
    else:
        columns = ("scope", "symbol", "figure", "row", "facts")
        render.table(columns, (tuple(found[name] for name in columns) for found in told["differences"]))
    raise typer.Exit(ExitCode.DONE if told["consistent"] else ExitCode.FAILED)


def _read(text: str) -> Any:
    """Read an answer; its numbers stay as they are written."""
    return json_text.loads(text, parse_float=str, parse_int=str)


def register(main: typer.Typer) -> None:
    """Mount the commands."""
    main.add_typer(app, name="risk")
