"""`volex order resolve`: a person's decision on an order in doubt."""

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from cli import render
from cli.exit_codes import EPILOG, ExitCode
from cli.orders import Account, AsJson, OrderName, run
from cli.stack import DataDir

if TYPE_CHECKING:
    from starter.client import ExecutionClient


def resolve(
    order: OrderName,
    because: Annotated[str, typer.Option(help="Why: it is recorded with the decision.")],
    placed: Annotated[str | None, typer.Option(metavar="ID", help="It is this order of the venue.")] = None,
    never_placed: Annotated[bool, typer.Option("--never-placed", help="The venue never got it.")] = False,
    account: Account = None,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Decide on an order in doubt. The venue is asked first: what it shows is adopted, what does not fit is refused.

    Examples:

    volex order resolve a3f0c2d4e5b60718 --placed 12345 --because "seen on the venue's page"

    volex order resolve a3f0c2d4e5b60718 --never-placed --because "ticket 4711 of their support"
    """
    if (placed is not None) == never_placed:
        raise typer.BadParameter("name either --placed ID or --never-placed")

    async def work(client: "ExecutionClient", account: str) -> ExitCode:
        answered = await client.resolve_order(
            order,
            account=account,
            placed=placed,
            never_placed=never_placed,
            because=because,
            requested_by=f"cli:{_user()}",
        )
        after = answered.view.order
        if json:
            from api.schemas import resolved_json

            assert after is not None, "an order in doubt is recorded"
            render.as_json(resolved_json(after, ending=answered.ending, told=answered.told))
        else:
            render.say(f"{answered.told}.")
            render.say(render.order_line(answered.view))
        undecided = after is None or after.status in ("INITIALIZED", "SUBMITTED", "IN_DOUBT")
        return ExitCode.UNDECIDED if undecided else ExitCode.DONE

    run(work, account, json=json, data_dir=data_dir)


def register(orders: typer.Typer) -> None:
    """Add the command to those of `volex order`."""
    orders.command(epilog=EPILOG)(resolve)


def _user() -> str:
    """Return who is logged in, as far as the system knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
