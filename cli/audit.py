"""`volex audit verify`: whether a row of the ledger was changed, removed or put in past the agent."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli import render
from cli.exit_codes import EPILOG, ExitCode
from cli.stack import DataDir

if TYPE_CHECKING:
    from domain.audit import Checkpoint, Verdict
    from settings import Settings

app: Final = typer.Typer(help="Prove that the ledger is as it was written.", no_args_is_help=True, epilog=EPILOG)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SHOWN: Final = 200
"""Lines that a person is shown; `--json` prints all."""


@app.command(epilog=EPILOG)
def verify(
    order: Annotated[str | None, typer.Option("--order", metavar="ID", help="The facts of this order alone.")] = None,
    account: Annotated[str | None, typer.Option("--account", "-a", help="Of --order; the default one.")] = None,
    expect: Annotated[
        str | None, typer.Option("--expect", metavar="HASH", help="A checkpoint's hash that was kept elsewhere.")
    ] = None,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Read the whole audit log and name every row that was changed, removed, put in or swapped; exit code 1 if any.

    Reads the database itself, past worker and REST interface, and changes nothing.

    Example: volex audit verify
    """
    from cli.addresses import find

    where = find(data_dir)
    hash_ = _hash(expect)
    of_order = f"{where.account(account)}/{order}" if order is not None else None
    verdict = asyncio.run(_verify(where.settings, of_order, hash_))
    if json:
        render.as_json(_told(verdict))
    else:
        _show(verdict)
    raise typer.Exit(ExitCode.FAILED if verdict.found else ExitCode.DONE)


def _hash(expect: str | None) -> bytes | None:
    try:
        hash_ = bytes.fromhex(expect) if expect is not None else None
    except ValueError:
        hash_ = b""
    if hash_ is not None and len(hash_) != 32:
        raise typer.BadParameter("a hash is 64 hex digits", param_hint="--expect")
    return hash_


async def _verify(settings: "Settings", order: str | None, expected: bytes | None) -> "Verdict":
    from storage.audit_store import verify
    from storage.database import open_engine

    engine = open_engine(settings.database_url.get_secret_value(), application_name="volex audit", pool_size=1)
    try:
        return await verify(engine, order=order, expected=expected)
    finally:
        await engine.dispose()


def _told(verdict: "Verdict") -> dict[str, Any]:
    names = ("kind", "table", "chain", "seq", "row", "text")
    return {
        "intact": not verdict.found,
        "entries": verdict.entries,
        "chains": verdict.chains,
        "checkpoints": verdict.checkpoints,
        "entries_after_last_checkpoint": verdict.uncovered,
        "last_checkpoint": _checkpoint(verdict.last),
        "found": [{name: getattr(row, name) for name in names} for row in verdict.found],
    }


def _checkpoint(last: "Checkpoint | None") -> dict[str, Any] | None:
    if last is None:
        return None
    told = {"number": last.number, "entries": last.entries, "made_at": last.made_at, "made_by": last.made_by}
    return {**told, "hash": last.hash.hex()}


def _show(verdict: "Verdict") -> None:
    read = f"{verdict.entries} entries in {verdict.chains} chains, {verdict.checkpoints} checkpoints"
    if not verdict.found:
        render.say(f"Intact: {read}. {verdict.uncovered} entries are newer than the last checkpoint.")
        if verdict.last is not None:
            render.say(f"Checkpoint {verdict.last.number}: {verdict.last.hash.hex()}")
        return
    columns = ("what", "table", "row", "chain", "place", "why")
    rows = ((row.kind, row.table, row.row, row.chain, row.seq, row.text) for row in verdict.found[:SHOWN])
    render.table(columns, rows)
    more = len(verdict.found) - SHOWN
    render.say(
        f"{len(verdict.found)} rows are not as they were written{f'; {more} not shown' if more > 0 else ''}. {read}."
    )


def register(main: typer.Typer) -> None:
    """Mount the commands."""
    main.add_typer(app, name="audit")
