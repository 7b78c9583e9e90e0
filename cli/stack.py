"""`volex up` and its parts: worker, api, simulator, db upgrade."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from embedded.stack import StackOptions

DATABASE_COMMANDS: Final = typer.Typer(help="The ledger's database.", no_args_is_help=True)
_PASS_ON: Final = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Keeps everything; by default a folder under your user's data.")
]
Port = Annotated[int | None, typer.Option(min=1, max=65535, help="A free one unless given.")]


def default_data_dir() -> Path:
    """Return the folder used when none is named."""
    import platformdirs

    return platformdirs.user_data_path("volex")


def up(
    data_dir: DataDir = None,
    config: Annotated[Path | None, typer.Option(help="Settings file; by default VOLEX_CONFIG or ./volex.toml.")] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Gets addresses and process ids as JSON once everything answers.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Number of worker processes.")] = 1,
    simulator: Annotated[bool, typer.Option(help="Run the local venue.")] = True,
    kraken: Annotated[bool, typer.Option(help="Run a second local venue, which speaks Kraken's protocol.")] = False,
    api_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Of the REST interface; API_PORT, or a free one.")
    ] = None,
    temporal_port: Port = None,
    ui_port: Port = None,
    postgres_port: Port = None,
    simulator_port: Port = None,
    kraken_port: Port = None,
) -> None:
    """Run the whole stack on this machine until Ctrl-C: Temporal, Postgres, local venue, worker, REST interface.

    Example: volex up --workers 2 --api-port 8002
    """
    from embedded.stack import ALL_PARTS, StackOptions

    ports = {"api": api_port, "temporal": temporal_port, "ui": ui_port, "postgres": postgres_port}
    parts = (ALL_PARTS if simulator else ALL_PARTS - {"simulator"}) | ({"simulator-kraken"} if kraken else set())
    options = StackOptions(
        data_dir=data_dir or default_data_dir(),
        ready_file=ready_file.absolute() if ready_file else None,
        config=config,
        workers=workers,
        parts=parts,
        ports={**ports, "simulator": simulator_port, "simulator_kraken": kraken_port},
    )
    raise typer.Exit(asyncio.run(run_stack(options)))


async def run_stack(options: "StackOptions") -> int:
    """Run until a signal comes, also while starting. Return the exit code."""
    from embedded.stack import EmbeddedStack
    from observability.logs import set_up_logs

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    set_up_logs()
    stack = EmbeddedStack(options)
    set_up_logs(level=stack.configuration.settings.log_level)
    typer.echo(f"volex is starting, data in {stack.data.path} …")
    entering = asyncio.create_task(stack.__aenter__())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({entering, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not entering.done():
        entering.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await entering
        stopping.cancel()
        return 0
    try:
        entering.result()
    except RuntimeError as error:
        typer.echo(f"volex did not start: {error}", err=True)
        return 1
    try:
        _say(stack.ready)
        await stopping
        typer.echo("volex is stopping …")
    finally:
        await stack.__aexit__(None, None, None)
    typer.echo("volex has stopped.")
    return 0


def _say(ready: Mapping[str, Any]) -> None:
    typer.echo(f"volex is up: REST interface {ready['api']}  (its pages: {ready['api']}/docs)")
    typer.echo(f"  Temporal Web UI {ready['ui']}   Temporal {ready['temporal']}")
    if ready["simulator"]:
        typer.echo(f"  local venue {ready['simulator']}")
    if ready["simulator_kraken"]:
        typer.echo(f"  local venue that speaks Kraken's protocol {ready['simulator_kraken']}")
    typer.echo("  Ctrl-C stops everything; orders and data stay.")


def worker() -> None:
    """Run one worker against the configured Temporal and database."""
    import worker as worker_process

    worker_process.main()


def api() -> None:
    """Run the REST interface against the configured Temporal and database."""
    from credentials import load_all_settings
    from observability.crashes import keep_no_core
    from observability.logs import set_up_logs

    keep_no_core()
    set_up_logs()
    settings = load_all_settings()
    settings.check_api_key()
    set_up_logs(level="DEBUG" if settings.debug else settings.log_level)
    from api.app import create_app
    from api.serving import serve

    serve(create_app(settings), settings)


def simulator(context: typer.Context) -> None:
    """Run the local venue alone; `volex simulator --help` lists its own options."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "simulator", *context.args])


@DATABASE_COMMANDS.callback()
def _database() -> None:
    """Keep `upgrade` a command of its own: with one command alone, typer would leave its name out."""


@DATABASE_COMMANDS.command()
def upgrade() -> None:
    """Bring the schema of DATABASE_URL up to date; safe to repeat, and to run in several places at once."""
    from settings import load_settings
    from storage.migrate import upgrade as upgrade_schema

    settings = load_settings()
    seen = asyncio.run(upgrade_schema(settings.database_url.get_secret_value(), settings.storage.terms()))
    typer.echo("The database is up to date.")
    if seen.hypertables:
        typer.echo(f"TimescaleDB {seen.version} ({seen.license}): hypertables {', '.join(sorted(seen.hypertables))}.")


@DATABASE_COMMANDS.command()
def measure(since: Annotated[str, typer.Option(metavar="TIME", help="30m, 24h, 7d ago, or ISO 8601.")]) -> None:
    """Measure anew how orders were executed that have changed since then; `volex tca` shows it. Safe to repeat.

    Example: volex db measure --since 30d
    """
    from datetime import UTC, datetime

    from cli.moments import moment
    from settings import load_settings
    from storage.database import open_engine
    from storage.measuring import measure_anew

    settings, now = load_settings(), datetime.now(UTC)
    begin = moment(since, now)

    async def work() -> int:
        engine = open_engine(settings.database_url.get_secret_value(), application_name="volex db measure", pool_size=1)
        try:
            return await measure_anew(engine, tuple(settings.accounts), since=begin, now=now)
        finally:
            await engine.dispose()

    typer.echo(f"{asyncio.run(work())} orders measured.")


def register(app: typer.Typer) -> None:
    """Mount the commands."""
    app.command()(up)
    app.command()(worker)
    app.command()(api)
    app.command(context_settings=_PASS_ON)(simulator)
    app.add_typer(DATABASE_COMMANDS, name="db")
