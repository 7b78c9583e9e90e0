"""`volex tca`: how well orders were executed, as a table, a page with plots, or the REST interface's JSON."""

import json as json_text
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli import render
from cli.account import AsJson, Rest, reaching
from cli.exit_codes import EPILOG
from cli.moments import moment
from cli.report import Mode, target
from cli.stack import DataDir
from cli.tca_page import page, rounded

ORDERS_SHOWN: Final = 5_000
"""The newest so many are in a page's plots; its table counts all."""
PAGE: Final = 1_000


class By(StrEnum):
    """As in `domain.performance`, which is too heavy to import for a help page."""

    SYMBOL = "symbol"
    STRATEGY = "strategy"
    VENUE = "venue"
    ACCOUNT = "account"


Row = Mapping[str, Any]
COLUMNS: Final[tuple[tuple[str, Callable[[Row], str]], ...]] = (
    ("key", lambda row: row["key"] or "(no strategy)"),
    ("mode", lambda row: row["mode"]),
    ("orders", lambda row: str(row["orders"])),
    ("filled", lambda row: str(row["filled"])),
    ("fill ratio", lambda row: rounded(row["fill_ratio"], 3)),
    ("notional", lambda row: f"{rounded(row['notional'])} {row['currency']}"),
    ("slippage bps", lambda row: rounded(row["slippage_bps"])),
    ("p95", lambda row: rounded(row["slippage"]["p95"])),
    ("vs mid bps", lambda row: rounded(row["mid_slippage_bps"])),
    ("fees bps", lambda row: rounded(row["fees_bps"])),
    ("shortfall", lambda row: rounded(row["implementation_shortfall"])),
    ("bps", lambda row: rounded(row["implementation_shortfall_bps"])),
    ("first fill ms", lambda row: rounded(row["latency_ms"]["first_fill"]["p50"], 1)),
    ("p95", lambda row: rounded(row["latency_ms"]["first_fill"]["p95"], 1)),
)


def tca(
    since: Annotated[str, typer.Option(metavar="TIME", help="30m, 24h, 7d ago, or ISO 8601.")] = "24h",
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Likewise; now if left out.")] = None,
    by: Annotated[By, typer.Option(help="What orders are put together by.")] = By.SYMBOL,
    account: Annotated[str | None, typer.Option("--account", "-a", help="Every account if left out.")] = None,
    symbol: Annotated[str | None, typer.Option(help="BASE/QUOTE")] = None,
    strategy: Annotated[str | None, typer.Option(help="Only its orders.")] = None,
    mode: Annotated[Mode | None, typer.Option(help="Each account's own mode if left out; never mixed.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with tables and plots.")] = None,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Show how well ended orders were executed: slippage, shortfall, fees, fill ratio and latency.

    Costs are positive, gains negative; a dash is not known. docs/execution-quality.md says how each is reckoned.

    Example: volex tca --since 7d --by strategy --html tca.html
    """
    now = datetime.now(UTC)
    names = {"exchange": account, "symbol": symbol, "strategy": strategy, "mode": mode.value if mode else None}
    parameters = {name: value for name, value in names.items() if value is not None}
    span = {"since": moment(since, now), "until": moment(until, now) if until else now}
    parameters |= {name: at.isoformat() for name, at in span.items()}
    with reaching(data_dir, json=json) as rest:
        told = rest.get("/performance", by=by.value, **parameters)
        if html is not None:
            _write(html, _read(told), _orders(rest, parameters), by=by, parameters=parameters)
    if json:
        typer.echo(told)
        return
    if html is not None:
        render.say(f"Written: {html}")
    groups = _read(told)
    if not groups:
        render.say("No order has ended in that time.")
        return
    render.table([name for name, _ in COLUMNS], ([show(row) for _, show in COLUMNS] for row in groups))


def _read(text: str) -> list[dict[str, Any]]:
    """Read numbers exactly; whole numbers that count are `int`, and figures `Decimal`."""
    told: list[dict[str, Any]] = json_text.loads(text, parse_float=Decimal)
    return told


def _orders(rest: Rest, parameters: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the newest orders, page by page."""
    found: list[dict[str, Any]] = []
    key: dict[str, str] = {}
    while len(found) < ORDERS_SHOWN:
        rows = _read(rest.get("/performance/orders", limit=str(PAGE), **parameters, **key))
        found += rows
        if len(rows) < PAGE:
            break
        key = {"before": rows[-1]["id"], "before_at": rows[-1]["placed_at"]}
    return found


def _write(
    path: Path,
    groups: list[dict[str, Any]],
    orders: list[dict[str, Any]],
    *,
    by: By,
    parameters: Mapping[str, str],
) -> None:
    since, until = (parameters[name][:16].replace("T", " ") for name in ("since", "until"))
    count = sum(row["orders"] for row in groups)
    title = f"{count} orders by {by.value}, {since}Z to {until}Z; costs are positive, gains negative"
    with target(path, binary=False) as file:
        file.write(page(groups, orders, columns=COLUMNS, title=title))


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command(epilog=EPILOG)(tca)
