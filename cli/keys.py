"""`volex keys create|list|revoke`: who may use the REST interface. Works on the ledger itself: no key makes a key."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from cli import render
from cli.exit_codes import EPILOG
from cli.orders import who
from cli.stack import DataDir

if TYPE_CHECKING:
    from cli.addresses import Addresses
    from domain.api_keys import ApiKey, ApiKeys

T = TypeVar("T")
app: Final = typer.Typer(help="API keys of the REST interface.", no_args_is_help=True, epilog=EPILOG)
COLUMNS: Final = ("id", "name", "scopes", "accounts", "made", "expires", "state")
DAYS_DEFAULT: Final = 365
DAYS_MAX: Final = 3650
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(epilog=EPILOG)
def create(
    name: Annotated[str, typer.Argument(help="Whom it stands for: lower-case letters, digits, . _ and -.")],
    scopes: Annotated[str, typer.Option("--scopes", help="Of read, trade, admin, with commas between.")] = "read",
    account: Annotated[
        list[str] | None, typer.Option("--account", "-a", help="It may use this one only; may be repeated.")
    ] = None,
    days: Annotated[int, typer.Option(min=0, max=DAYS_MAX, help="Days until it expires; 0: never.")] = DAYS_DEFAULT,
    rotate: Annotated[bool, typer.Option("--rotate", help="Make a second key for the same caller.")] = False,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Make a key and show it, once. Its name is the scope key:NAME of the risk gate, and who approves with it.

    Example: volex keys create momentum --scopes trade --account binanceus --days 90
    """
    from pydantic import ValidationError

    from domain.api_keys import RESERVED, NewKey

    with render.failures(json=json):
        addresses = _addresses(data_dir)
        for one in account or ():
            addresses.account(one)
        try:
            wanted = NewKey(
                name=name,
                scopes=frozenset(word.strip() for word in scopes.split(",")),
                accounts=frozenset(account) if account else None,
                expires_at=datetime.now(UTC) + timedelta(days=days) if days else None,
                created_by=who(),
            )
        except ValidationError as error:
            place = ".".join(str(part) for part in error.errors()[0]["loc"][:1])
            raise typer.BadParameter(f"{place}: {error.errors()[0]['msg']}") from None
        if wanted.name in RESERVED:
            raise typer.BadParameter(f"name: {name} means a way and not a caller; choose another")
        made, shown = _with_keys(addresses, lambda keys: keys.create(wanted, rotate=rotate))
    if json:
        render.as_json({**_told(made), "key": shown})
        return
    render.say(
        f"Key {made.key_id} of {made.name}, {_scopes(made)}, {_accounts(made)}, expires {_time(made.expires_at)}:"
    )
    typer.echo(shown)
    render.say("It is not shown again. Send it as `Authorization: Bearer …`, or set CLIENT_KEY for this command.")


@app.command("list", epilog=EPILOG)
def list_keys(
    every: Annotated[bool, typer.Option("--all", help="Revoked and expired ones too.")] = False,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """List the keys: what each may do, who made it, and who revoked it.

    Example: volex keys list --all
    """
    with render.failures(json=json):
        found = _with_keys(_addresses(data_dir), lambda keys: keys.listed())
    shown = [key for key in found if every or _state(key) == "usable"]
    if json:
        render.as_json([_told(key) for key in shown])
    elif not shown:
        render.say("No key. Make one: volex keys create NAME --scopes trade")
    else:
        render.table(COLUMNS, (_row(key) for key in shown))


@app.command(epilog=EPILOG)
def revoke(
    which: Annotated[str, typer.Argument(metavar="ID|NAME", help="One key by its id, or every key of a name.")],
    because: Annotated[str, typer.Option(help="Why: it is recorded.")],
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Revoke keys. Within a second no REST interface takes them any more; orders of theirs go on.

    Example: volex keys revoke momentum --because "the laptop is lost"
    """
    with render.failures(json=json):
        addresses = _addresses(data_dir)
        revoked = _with_keys(addresses, lambda keys: keys.revoke(which, by=who(), because=because))
    if json:
        render.as_json([_told(key) for key in revoked])
        return
    for key in revoked:
        render.say(f"Key {key.key_id} of {key.name} is revoked.")
    render.say(
        "What it has placed goes on; to stop that too: volex kill on --scope key:NAME --reason … --cancel-orders"
    )


def _addresses(data_dir: DataDir) -> "Addresses":
    from cli.addresses import find

    return find(data_dir)


def _with_keys(addresses: "Addresses", work: "Callable[[ApiKeys], Awaitable[T]]") -> T:
    from storage.api_keys import SqlApiKeys
    from storage.database import open_engine

    async def working() -> T:
        url = addresses.settings.database_url.get_secret_value()
        engine = open_engine(url, application_name="volex keys", pool_size=1)
        try:
            return await work(SqlApiKeys(engine))
        finally:
            await engine.dispose()

    return asyncio.run(working())


def _told(key: "ApiKey") -> dict[str, Any]:
    return {
        "id": key.key_id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "accounts": sorted(key.accounts) if key.accounts is not None else None,
        "state": _state(key),
        **key.model_dump(
            mode="json",
            include={"created_by", "created_at", "expires_at", "revoked_by", "revoked_at", "revoked_because"},
        ),
    }


def _row(key: "ApiKey") -> Sequence[object]:
    made = f"{_time(key.created_at)} by {key.created_by}"
    return [key.key_id, key.name, _scopes(key), _accounts(key), made, _time(key.expires_at), _state(key)]


def _scopes(key: "ApiKey") -> str:
    return ", ".join(sorted(key.scopes))


def _accounts(key: "ApiKey") -> str:
    return "every account" if key.accounts is None else ", ".join(sorted(key.accounts))


def _time(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z" if moment is not None else "never"


def _state(key: "ApiKey") -> str:
    if key.revoked_at is not None:
        return f"revoked {_time(key.revoked_at)} by {key.revoked_by}: {key.revoked_because}"
    return "expired" if key.expires_at is not None and key.expires_at <= datetime.now(UTC) else "usable"


def register(main: typer.Typer) -> None:
    """Mount the commands."""
    main.add_typer(app, name="keys")
