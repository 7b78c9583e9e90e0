"""`volex build list|promote`: which build of the worker carries the orders."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli import render
from cli.exit_codes import EPILOG
from cli.stack import DataDir

if TYPE_CHECKING:
    from temporalio.client import Client

    from cli.addresses import Addresses

app: Final = typer.Typer(help="Builds of the worker, side by side.", no_args_is_help=True, epilog=EPILOG)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list", epilog=EPILOG)
def list_builds(json: AsJson = False, data_dir: DataDir = None) -> None:
    """List the builds whose workers name themselves (WORKER__BUILD_ID), newest first, and which one is current.

    Example: volex build list
    """
    from cli.addresses import find
    from starter.builds import builds

    async def run(addresses: "Addresses") -> None:
        found = await builds(await _connected(addresses))
        if json:
            render.as_json([build.model_dump() for build in found])
        elif not found:
            render.say("No worker names its build: every worker takes what comes.")
        else:
            render.table(("build", "state"), [(build.build_id, build.state) for build in found])

    with render.failures(json=json):
        asyncio.run(run(find(data_dir)))


@app.command(epilog=EPILOG)
def promote(
    build: Annotated[str, typer.Argument(metavar="BUILD", help="The build's name, from `volex build list`.")],
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Give all orders, those that run as well, to a build's workers. Run `volex replay --all` with it before.

    Example: volex build promote 2026.11.25
    """
    from cli.addresses import find
    from starter import builds

    async def run(addresses: "Addresses") -> None:
        await builds.promote(await _connected(addresses), build)

    with render.failures(json=json):
        asyncio.run(run(find(data_dir)))
    if json:
        render.as_json({"current": build})
    else:
        render.say(f"Build {build} carries the orders now. Stop the others' workers once they are drained.")


async def _connected(addresses: "Addresses") -> "Client":
    from starter.connection import connect_with

    return await connect_with(addresses.settings, identity="volex build")


def register(app_: typer.Typer) -> None:
    """Mount the commands."""
    app_.add_typer(app, name="build")
