"""`volex equity`: what an account is worth over time."""

import json as json_text
from typing import Annotated, Final

import typer

from cli import render
from cli.account import Account, AsJson, in_path, reaching
from cli.exit_codes import EPILOG
from cli.stack import DataDir

COLUMNS: Final = ("taken_at", "equity", "realized", "unrealized", "currency", "unpriced")


def equity(
    account: Account = None,
    limit: Annotated[int, typer.Option(min=1, max=1500, help="At most so many, one a minute.")] = 30,
    before: Annotated[str | None, typer.Option(metavar="TIME", help="Only what was before, ISO 8601.")] = None,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Show what an account is worth, newest first: its balances at the market, and what our own fills have won.

    A dash means that something in it has no known price; `unpriced` names it.

    Example: volex equity binanceus --limit 60
    """
    parameters = {"limit": str(limit)} | ({"before": before} if before is not None else {})
    with reaching(data_dir, json=json) as rest:
        text = rest.get(f"/equity/{in_path(account or rest.account)}", **parameters)
    if json:
        typer.echo(text)
        return
    told = json_text.loads(text, parse_float=str, parse_int=str)
    if not told:
        render.say("No snapshot yet.")
        return
    render.table(COLUMNS, ([*(row[name] for name in COLUMNS[:-1]), ", ".join(row["unpriced"])] for row in told))


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command(epilog=EPILOG)(equity)
