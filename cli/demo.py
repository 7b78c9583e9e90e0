"""`volex demo`: the whole stack, four orders, a worker killed in the middle of a fifth, and what became of it."""

import asyncio
import contextlib
import os
import secrets
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from embedded.stack import EmbeddedStack

WITHIN_S: Final = 120
"""The demo ends by itself after this long, with what went wrong."""
_CONFIG: Final = """# Orders go to the local venue over HTTP, as they would go to Binance US.
dry_run_mode = false

[accounts.binanceus]
exchange = "binanceus"
mode = "sandbox"
credentials = "env"

[accounts.binanceus.ccxt.urls.api]
public = "{venue}/api/v3"
private = "{venue}/api/v3"
sapi = "{venue}/sapi/v1"
"""


def demo(
    keep: Annotated[bool, typer.Option(help="Leave the stack up until Ctrl-C.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Keeps the data; a temporary folder unless given.")] = None,
) -> None:
    """Show four orders and a crash on the whole stack: filled, filled in parts, canceled, denied, and survived.

    Example: volex demo --keep
    """
    with _folder(data_dir) as folder:
        raise typer.Exit(asyncio.run(_run(folder, keep=keep)))


@contextlib.contextmanager
def _folder(data_dir: Path | None) -> Iterator[Path]:
    if data_dir is not None:
        data_dir.mkdir(parents=True, exist_ok=True)
        yield data_dir
        return
    with tempfile.TemporaryDirectory(prefix="volex-demo-") as folder:
        Path(folder).chmod(0o711)  # Postgres, started by root, runs as another user and has to get through
        yield Path(folder)


async def _run(folder: Path, *, keep: bool) -> int:
    import httpx2

    from cli.demo_story import tell

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    key = secrets.token_urlsafe(24)
    telling = asyncio.create_task(_in_stack(folder, key, tell, stop if keep else None))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({telling, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not telling.done() and not keep:
        telling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await telling
        typer.echo("The demo was stopped; nothing is left running.")
        return 1
    try:
        as_expected = await telling
    except (RuntimeError, TimeoutError, httpx2.HTTPError) as error:
        typer.echo(f"The demo did not get through: {error or 'it took too long'}", err=True)
        return 1
    finally:
        stopping.cancel()
    return 0 if as_expected else 1


async def _in_stack(folder: Path, key: str, tell: "Tell", stop: asyncio.Event | None) -> bool:
    typer.echo("Starting Temporal, Postgres, a local venue, a worker and the REST interface …")
    async with _stack(folder, key) as stack:
        async with asyncio.timeout(WITHIN_S):
            as_expected = await tell(stack, key)
        _say_what_next(stack, key, kept=stop is not None)
        if stop is not None:
            await stop.wait()
    typer.echo("Everything is stopped.")
    return as_expected


@contextlib.asynccontextmanager
async def _stack(folder: Path, key: str) -> "AsyncIterator[EmbeddedStack]":
    from embedded.child import free_port
    from embedded.stack import EmbeddedStack, StackOptions
    from simulator.running import API_KEY, SECRET_KEY

    port = free_port()
    config = folder / "demo.toml"  # a name of its own: the folder may hold the user's volex.toml
    config.write_text(_CONFIG.format(venue=f"http://127.0.0.1:{port}"), "utf-8")
    keys = {"BINANCEUS_API_KEY": API_KEY, "BINANCEUS_SECRET_KEY": SECRET_KEY, "API_KEY": key}
    quiet = {"LOG_LEVEL": "WARNING", "DRY_RUN_MODE": "false", "API_HOST": "127.0.0.1"}
    options = StackOptions(
        data_dir=folder / "data",
        config=config,
        ports={"simulator": port},
        environ={**os.environ, **keys, **quiet},
    )
    async with EmbeddedStack(options) as stack:
        yield stack


def _say_what_next(stack: "EmbeddedStack", key: str, *, kept: bool) -> None:
    if not kept:
        typer.echo("Next: `volex demo --keep` to look at the Web UI, or `volex up` for a stack that stays.")
        return
    ready = stack.ready
    typer.echo(
        f"""
The stack stays up until Ctrl-C. Try:
  open {ready["ui"]}
  export API_KEY={key}
  curl -H "X-API-Key: $API_KEY" {ready["api"]}/orders/binanceus
  curl -H "X-API-Key: $API_KEY" -X POST {ready["api"]}/orders \\
       -d '{{"symbol": "ETH/USDT", "side": "buy", "order_type": "market", "amount": 0.5}}'"""
    )


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command()(demo)


if TYPE_CHECKING:
    from cli.demo_story import Tell
