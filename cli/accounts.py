"""`volex accounts`: mode, venue and keys of every account, as a signed read and the venue's own word show them."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli import render
from cli.exit_codes import EPILOG, ExitCode
from cli.stack import DataDir
from domain.errors import ExecutionError

if TYPE_CHECKING:
    from domain.keys import KeyCheck, KeyPermissions
    from settings import Settings

ASK_TIMEOUT_S: Final = 15.0
NOT_TOLD: Final = "not told"


def accounts(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False, data_dir: DataDir = None
) -> None:
    """Show per account mode, venue, whether its keys work, and what they may do where the venue tells.

    Exit code 5 when the keys of an account in sandbox or live mode do not work, or their venue does not answer.

    Example: volex accounts
    """
    from cli.addresses import find

    rows = asyncio.run(_look(find(data_dir).settings))
    if json:
        render.as_json(rows)
    else:
        names = ("account", "venue", "mode", "keys from", "keys", "may read", "may trade", "may withdraw", "remark")
        render.table(names, (_line(row) for row in rows))
    raise typer.Exit(ExitCode.UNREACHABLE if any(row["keys"] == "failing" for row in rows) else ExitCode.DONE)


async def _look(settings: "Settings") -> list[dict[str, Any]]:
    return list(await asyncio.gather(*(_row(settings, account) for account in settings.accounts)))


async def _row(settings: "Settings", account: str) -> dict[str, Any]:
    from domain.order import TradingMode

    entry, mode = settings.accounts[account], settings.mode_of(account)
    row: dict[str, Any] = {
        "account": account,
        "exchange": entry.exchange,
        "mode": str(mode),
        "credentials": entry.credentials,
        "keys": "not needed",
        "permissions": None,
        "remark": "",
    }
    if mode is TradingMode.PAPER:
        return row
    try:
        found = await asyncio.wait_for(_check(settings, account), ASK_TIMEOUT_S)
    except (ExecutionError, TimeoutError) as error:
        return {**row, "keys": "failing", "remark": str(error) or "no answer in time"}
    permissions = found.permissions.model_dump()
    if not found.works:
        return {**row, "keys": "failing", "remark": found.problem}
    return {**row, "keys": "ok", "permissions": permissions, "remark": _remark(found.permissions, settings.strict_keys)}


def _remark(permissions: "KeyPermissions", strict: bool) -> str:
    if permissions.withdraw:
        refused = "; refused at start (strict_keys)" if strict else ""
        return f"warning: the key may withdraw{refused}. Take that permission from it"
    if permissions.trade is False:
        return "warning: the key may not trade"
    if permissions.ip_restricted is False:
        return "the key is not tied to addresses"
    return ""


async def _check(settings: "Settings", account: str) -> "KeyCheck":
    from credentials import open_key_ring
    from exchanges.ccxt_exchange import CcxtExchange
    from exchanges.opening import open_exchange

    exchange = await open_exchange(
        account=account,
        mode=settings.mode_of(account),
        credentials=await open_key_ring(settings, account).open(),
        **settings.accounts[account].at_venue(),
    )
    try:
        assert isinstance(exchange, CcxtExchange)
        return await exchange.check_keys()
    finally:
        await exchange.close()


def _line(row: dict[str, Any]) -> Sequence[str]:
    told = row["permissions"] or {}
    words = {True: "yes", False: "no", None: NOT_TOLD if row["keys"] == "ok" else ""}
    may = [words[told.get(name)] for name in ("read", "trade", "withdraw")]
    return [row["account"], row["exchange"], row["mode"], row["credentials"], row["keys"], *may, row["remark"]]


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command(epilog=EPILOG)(accounts)
