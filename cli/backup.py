"""`volex backup` and `volex restore`: the ledger with all it keeps, in one file."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import render
from cli.stack import DataDir, default_data_dir
from domain.errors import ConfigurationError

if TYPE_CHECKING:
    from storage.backup import Manifest

File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")]


def backup(
    file: File,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Write the whole ledger, as of one moment, to a file: orders, facts, fills, audit, archived histories.

    Safe at any time: nothing waits for it. Settings, keys and Temporal's store are not in it.

    Example: volex backup volex-2026-11-25.backup
    """
    if file.exists() and not force:
        raise typer.BadParameter(f"{file} is there already; --force writes over it")
    from cli.addresses import find
    from storage.backup import back_up

    with render.failures(json=json):
        url = find(data_dir).settings.database_url.get_secret_value()
        manifest = _written(back_up(url, file), file)
        _show(manifest, json=json, text=f"{file}: {file.stat().st_size} bytes")


def _written(writing: Awaitable["Manifest"], file: Path) -> "Manifest":
    async def run() -> "Manifest":
        return await writing

    try:
        return asyncio.run(run())
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}", advice="Choose another file.") from None


def restore(file: File, json: AsJson = False, data_dir: DataDir = None) -> None:
    """Put a backup into an empty ledger: that of DATABASE_URL or, with --data-dir, of a stack that does not run.

    Refuses a ledger that holds anything. Then start workers as ever: before an account moves, what may have been sent
    after the backup is looked up at its venue.

    Example: volex restore volex-2026-11-25.backup --data-dir /var/lib/volex
    """
    from cli.addresses import find
    from storage.backup_restore import restore as put_back

    with render.failures(json=json):
        settings = find(data_dir).settings
        configured = "database_url" in settings.model_fields_set and data_dir is None

        async def put(url: str) -> "Manifest":
            return await put_back(url, file, settings.storage.terms())

        try:
            url = settings.database_url.get_secret_value()
            work = put(url) if configured else _in_own_postgres(data_dir or default_data_dir(), put)
            manifest = asyncio.run(_awaited(work))
        except OSError as error:
            raise ConfigurationError(f"{file}: {error.strerror}", advice="Check the file.") from None
        _show(manifest, json=json, text="restored")
    if not json:
        render.say("What was placed after that moment is not in it: see docs/backup.md before you let agents trade.")


async def _awaited(work: Awaitable["Manifest"]) -> "Manifest":
    return await work


async def _in_own_postgres(data_dir: Path, put: Callable[[str], Awaitable["Manifest"]]) -> "Manifest":
    """Run the Postgres of a data directory alone, for as long as it takes."""
    from embedded.child import Child, free_port
    from embedded.data_directory import DataDirectory
    from embedded.postgres_server import PostgresServer

    with DataDirectory(data_dir) as data:
        await data.clear_leftovers()
        server = PostgresServer(data.path / "postgres", port=free_port(), log_path=data.log_path("postgres"))
        await asyncio.to_thread(server.prepare)
        child = await Child.start(server.spec())
        try:
            await server.until_ready(child)
            return await put(server.url())
        finally:
            await child.stop()


def _show(manifest: "Manifest", *, json: bool, text: str) -> None:
    if json:
        render.as_json(manifest.model_dump(mode="json"))
        return
    counts = ", ".join(f"{manifest.rows(name)} {name}" for name in ("orders", "order_events", "fills"))
    histories = manifest.rows("archived_histories")
    render.say(f"{text}; as of {render.moment(manifest.taken_at)}: {counts}, {histories} archived histories.")


def register(app: typer.Typer) -> None:
    """Mount the commands."""
    app.command()(backup)
    app.command()(restore)
