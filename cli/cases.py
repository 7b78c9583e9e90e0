"""`volex reconcile|recover|cases|case close`: compare accounts with their venues, and what needs a person."""

import asyncio
import getpass
import json as json_text
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli import render
from cli.account import in_path, reaching
from cli.exit_codes import EPILOG, ExitCode, code_of
from cli.stack import DataDir
from domain.errors import ExecutionError

if TYPE_CHECKING:
    from cli.addresses import Addresses
    from domain.comparison import Reconciled
    from starter.client import ExecutionClient

app: Final = typer.Typer(help="Close cases that you have looked into.", no_args_is_help=True, epilog=EPILOG)

CASE_ID_MAX: Final = 2**63 - 1
"""As in `domain.comparison`, which is too heavy to import for a help page."""
COLUMNS: Final = ("account", "unfinished orders", "adopted now", "adopted in all", "open at venue", "cases opened")
Compare = Callable[["ExecutionClient", str], Awaitable["Reconciled"]]

OneOrAll = Annotated[str | None, typer.Option("--account", "-a", help="Every configured account if left out.")]
OneAccount = Annotated[str | None, typer.Option("--account", "-a", help="The default account if left out.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, with the REST interface's words.")]


def reconcile(account: OneOrAll = None, json: AsJson = False, data_dir: DataDir = None) -> None:
    """Compare ledger, Temporal and venue now, and say what was found. Nothing at the venue is touched.

    Orders that no workflow carries are adopted; what does not fit is a case. Exit code 0 also when cases were opened.

    Example: volex reconcile --account binanceus
    """
    _compare(lambda client, name: client.reconcile(name, why="volex reconcile"), account, json=json, data_dir=data_dir)


def recover(account: OneOrAll = None, json: AsJson = False, data_dir: DataDir = None) -> None:
    """Give every order of the ledger its workflow back, after Temporal lost its store.

    Starts feed and reconciler of each account, and compares. Safe to repeat, and at any time. Needs a worker.

    Example: volex recover
    """
    _compare(lambda client, name: client.recover(name, why="volex recover"), account, json=json, data_dir=data_dir)


def cases(
    every: Annotated[bool, typer.Option("--all", help="Closed ones too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many of each account.")] = 100,
    before: Annotated[int | None, typer.Option(min=1, metavar="ID", help="Only those opened before this one.")] = None,
    account: OneOrAll = None,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """List open cases, newest first: what does not fit between ledger, Temporal and venue, and needs a person.

    Example: volex cases --all
    """
    parameters = {"limit": str(limit), **({} if every else {"open": "true"})}
    if before is not None:
        parameters["before"] = str(before)
    with reaching(data_dir, json=json) as rest:
        names = [account] if account is not None else rest.accounts()
        pages = [rest.get(f"/cases/{in_path(name)}", **parameters) for name in names]
    if json:
        inner = (page.strip()[1:-1] for page in pages)
        typer.echo(f"[{','.join(page for page in inner if page)}]")
        return
    _show_cases([json_text.loads(page, parse_float=str) for page in pages], limit=limit, every=every)


def _show_cases(pages: Sequence[Sequence[dict[str, Any]]], *, limit: int, every: bool) -> None:
    found = [case for page in pages for case in page]
    if not found:
        render.say("No case." if every else "No open case.")
        return
    columns = ["id", "account", "code", "subject", "what", "opened"] + ["closed"] * every
    render.table(columns, (_row(case, every=every) for case in found))
    for page in pages:
        if len(page) == limit:
            more = f"volex cases --account {page[-1]['exchange']} --before {page[-1]['id']}{' --all' * every}"
            typer.echo(f"More: {more}", err=True)


def _row(case: dict[str, Any], *, every: bool) -> list[object]:
    figures = ", ".join(f"{name}={value}" for name, value in case["numbers"].items())
    row = [case["id"], case["exchange"], case["code"], case["subject"]]
    row += [f"{case['text']} ({figures})" if figures else case["text"], case["opened_at"]]
    return [*row, f"{case['closed_at']} {case['resolution']}" if case["closed_at"] else None] if every else row


@app.command(epilog=EPILOG)
def close(
    case: Annotated[
        int, typer.Argument(metavar="ID", min=1, max=CASE_ID_MAX, help="The case's number, from `volex cases`.")
    ],
    because: Annotated[str, typer.Option(help="What you found, for the record.")],
    account: OneAccount = None,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Close a case that you have looked into. Who and why is recorded with it.

    Example: volex case close 7 --because "deposit of 500 USDT, ticket 42"
    """

    async def closed() -> None:
        from api.cases import case_json

        addresses, client = await _connected(data_dir)
        name = addresses.account(account)
        done = await client.close_case(name, case, because=because, closed_by=f"cli:{_user()}")
        if json:
            render.as_json(case_json(done))
        else:
            render.say(f"case {done.case_id}  {done.code} {done.subject}  {done.resolution}")

    with render.failures(json=json):
        asyncio.run(closed())


def _user() -> str:
    """Return who is logged in, as far as the system knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


async def _connected(data_dir: Path | None) -> tuple["Addresses", "ExecutionClient"]:
    from cli.addresses import find
    from starter.client import ExecutionClient

    addresses = find(data_dir)
    identity = f"cli@{socket.gethostname()}#{os.getpid()}"
    return addresses, await ExecutionClient.from_settings(addresses.settings, identity=identity)


def _compare(compare: Compare, account: str | None, *, json: bool, data_dir: Path | None) -> None:
    """Compare one account or all; one that fails hides nothing of the others, and gives the exit code."""

    async def compared() -> list["Reconciled | ExecutionError"]:
        addresses, client = await _connected(data_dir)
        names = [addresses.account(account)] if account is not None else list(addresses.settings.accounts)
        return list(await asyncio.gather(*(one(client, name) for name in names)))

    async def one(client: "ExecutionClient", name: str) -> "Reconciled | ExecutionError":
        try:
            return await compare(client, name)
        except ExecutionError as failure:
            return failure

    with render.failures(json=json):
        told = asyncio.run(compared())
    failures = [failure for failure in told if isinstance(failure, ExecutionError)]
    found = [each for each in told if not isinstance(each, ExecutionError)]
    if found:
        _show_compared(found, json=json)
    for failure in failures:
        render.error(failure, json=json and not found)
    raise typer.Exit(code_of(failures[0]) if failures else ExitCode.DONE)


def _show_compared(told: Sequence["Reconciled"], *, json: bool) -> None:
    """Print what was found, and every case so that nobody overlooks it."""
    from api.cases import reconciled_json

    if json:
        render.as_json([reconciled_json(found) for found in told])
        return
    render.table(COLUMNS, (_figures(found) for found in told))
    for found in told:
        for case in found.cases:
            text = f"CASE OPENED  {found.account}: {case}  look at it: volex cases --account {found.account}"
            typer.secho(render.printable(text), fg=typer.colors.RED, bold=True)


def _figures(found: "Reconciled") -> list[object]:
    adopted, opened = len(found.adopted), len(found.cases)
    return [found.account, found.unfinished, adopted, found.adopted_in_all, found.open_at_venue, opened]


def register(main: typer.Typer) -> None:
    """Mount the commands."""
    for command in (reconcile, recover, cases):
        main.command(epilog=EPILOG)(command)
    main.add_typer(app, name="case")
