"""`volex replay`: runs the present code over the histories of orders, and says what differs."""

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

import typer

from cli import render
from cli.exit_codes import ExitCode
from cli.stack import DataDir
from domain.errors import ConfigurationError

if TYPE_CHECKING:
    from cli.addresses import Addresses
    from starter.replaying import Replay, Replayed

Told = AsyncIterator["Replayed"]


def replay(
    order: Annotated[str | None, typer.Argument(metavar="[ID]", help="The order's id; or --all.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Everything that is archived.")] = False,
    account: Annotated[
        str | None, typer.Option("--account", "-a", help="The default account; with --all, every account.")
    ] = None,
    sandboxed: Annotated[
        bool, typer.Option("--sandboxed", help="Refuse clocks, chance and I/O as well; ten times slower.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each history.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Run this build's code over the histories of orders that have ended, or over the live one of an order that runs.

    Run it before an upgrade, with the new build: exit code 1 names each order that the new code would lead otherwise.

    Examples:

    volex replay a3f0c2d4e5b60718

    volex replay --all
    """
    if (order is None) is not every:
        raise typer.BadParameter("name an order, or --all")
    from cli.addresses import find

    logging.getLogger("temporalio").setLevel(logging.CRITICAL)  # what differs is said once, by us
    with render.failures(json=json):
        addresses = find(data_dir)
        name = account if every else addresses.account(account)
        raise typer.Exit(asyncio.run(_replay(addresses, order, name, sandboxed=sandboxed, json=json)))


async def _replay(
    addresses: "Addresses", order: str | None, account: str | None, *, sandboxed: bool, json: bool
) -> ExitCode:
    from starter.connection import connect_with
    from starter.replaying import Replay
    from storage.archive import open_archive
    from storage.database import open_engine

    settings = addresses.settings
    engine = open_engine(settings.database_url.get_secret_value(), application_name="volex replay", pool_size=1)
    try:
        archive = open_archive(engine, settings.archive_url)
        client = await connect_with(settings, identity="volex replay", lazy=True) if order is not None else None
        told = _told(Replay(archive, client, sandboxed=sandboxed), order, account)
        count, differing = await _show(told, json=json)
        lost = await archive.lost(account=account) if order is None else 0
    finally:
        await engine.dispose()
    if not json:
        end = f"; {lost} ended orders have no history anywhere" if lost else ""
        render.say(f"{count} histories replayed, {differing} differ{end}.")
    return ExitCode.FAILED if differing else ExitCode.DONE


def _told(replay: "Replay", order: str | None, account: str | None) -> Told:
    if order is None:
        return replay.every(account=account)
    if account is None:
        raise ConfigurationError("no account is configured")
    return replay.order(account, order)


async def _show(told: Told, *, json: bool) -> tuple[int, int]:
    count = differing = 0
    async for replayed in told:
        count += 1
        differing += replayed.difference is not None
        if json:
            render.as_json(dataclasses.asdict(replayed))
        elif replayed.difference is not None:
            render.say(f"{replayed.order_id or replayed.workflow_id} run {replayed.run_id}: {replayed.difference}")
    return count, differing


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command()(replay)
