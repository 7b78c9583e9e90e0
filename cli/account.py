"""`volex balance|ticker|positions|exchanges|health`: what the REST interface tells, as tables or as its own JSON."""

import contextlib
import ipaddress
import json as json_text
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote, urlsplit

import typer

if TYPE_CHECKING:
    import ssl

from cli import render
from cli.exit_codes import EPILOG, ExitCode
from cli.stack import DataDir
from domain.errors import ExecutionError

TIMEOUT_S: Final = 15.0
LONG_TIMEOUT_S: Final = 120.0
"""A year's lots are made of all that was traded before it, so its first rows may take a while."""
_REFUSED_FROM: Final = 400
_FAILED: Final = 500
_UNREACHABLE_FROM: Final = 502


class RestUnavailable(ExecutionError):
    """The REST interface does not answer."""

    code = "REST_UNAVAILABLE"
    retryable = True
    advice = "Start it with `volex up`, or set API_HOST and API_PORT to where it listens."


class RestRefused(Exception):
    """The REST interface answered with a problem: `body` as it came."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.body = body
        if status >= _UNREACHABLE_FROM:
            self.exit_code = ExitCode.UNREACHABLE
        else:
            self.exit_code = ExitCode.FAILED if status == _FAILED else ExitCode.USAGE

    def line(self) -> str:
        """Say it to people."""
        try:
            told: dict[str, Any] = json_text.loads(self.body)
            return f"{told['code']}: {told['detail']}. {told['what_to_do']}"
        except (ValueError, KeyError, TypeError):
            return f"the REST interface answered with {self}"


class Rest:
    """The REST interface of the stack that the settings, or the data directory, lead to.

    Raises
    ------
    ConfigurationError
        When the settings do not fit.
    """

    def __init__(self, data_dir: Path | None) -> None:
        from cli.addresses import find

        addresses = find(data_dir)
        self.url = addresses.api
        self.account = addresses.settings.default_exchange
        key = addresses.settings.client_key or addresses.settings.api_key
        self._verify = _trust(addresses.settings.api_tls_ca_path)
        self._headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key is not None else {}

    def get(self, path: str, **parameters: str) -> str:
        """Return the body of the answer.

        Raises
        ------
        RestUnavailable
            When it does not answer.
        RestRefused
            When it answers with a problem.
        """
        return self._ask("GET", path, params=parameters)

    def accounts(self) -> list[str]:
        """Return the names of the configured accounts; raises like `get`."""
        names: list[str] = json_text.loads(self.get("/exchanges"))["available_exchanges"]
        return names

    def post(self, path: str, body: Mapping[str, Any], *, timeout_s: float = TIMEOUT_S) -> str:
        """Send a body as JSON with exact numbers, and return the body of the answer; raises like `get`."""
        return self._send("POST", path, body, timeout_s)

    def patch(self, path: str, body: Mapping[str, Any]) -> str:
        """Send a change; like `post`."""
        return self._send("PATCH", path, body)

    def _send(self, method: str, path: str, body: Mapping[str, Any], timeout_s: float = TIMEOUT_S) -> str:
        from api.numbers import write_json

        headers = {**self._headers, "Content-Type": "application/json"}
        return self._ask(method, path, content=write_json(body), headers=headers, timeout=timeout_s)

    def lines(self, path: str, **parameters: str) -> Iterator[str]:
        """Yield the lines of a long answer as they come; raises like `get`, also when it breaks off."""
        import httpx2

        trust_env = not _is_this_machine(self.url)
        try:
            with httpx2.stream(
                "GET",
                f"{self.url}{path}",
                params=parameters,
                headers=self._headers,
                timeout=LONG_TIMEOUT_S,
                trust_env=trust_env,
                verify=self._verify,
            ) as answer:
                if answer.status_code >= _REFUSED_FROM:
                    raise RestRefused(answer.status_code, answer.read().decode(errors="replace"))
                yield from answer.iter_lines()
        except httpx2.HTTPError as error:
            raise RestUnavailable(f"no answer from {self.url}: {type(error).__name__}") from error

    def _ask(self, method: str, path: str, **content: Any) -> str:
        import httpx2

        # A proxy of the environment leads away from this machine.
        trust_env = not _is_this_machine(self.url)
        try:
            answer = httpx2.request(
                method,
                f"{self.url}{path}",
                trust_env=trust_env,
                verify=self._verify,
                **{"timeout": TIMEOUT_S, "headers": self._headers, **content},
            )
        except httpx2.HTTPError as error:
            raise RestUnavailable(f"no answer from {self.url}: {type(error).__name__}") from error
        if answer.status_code >= _REFUSED_FROM:
            raise RestRefused(answer.status_code, answer.text)
        return answer.text


def _trust(authority: Path | None) -> "ssl.SSLContext | bool":
    """Return whom the REST interface's certificate may be signed by: the configured authority, else the usual ones."""
    if authority is None:
        return True
    import ssl

    return ssl.create_default_context(cafile=str(authority))


def _is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextlib.contextmanager
def reaching(data_dir: Path | None, *, json: bool) -> Iterator[Rest]:
    """Reach the REST interface; a failure is shown and ends the command with its exit code."""
    with render.failures(json=json):
        try:
            yield Rest(data_dir)
        except RestRefused as refused:
            if json:
                typer.echo(refused.body)
            else:
                typer.echo(render.printable(refused.line()), err=True)
            raise typer.Exit(refused.exit_code) from None


Account = Annotated[str | None, typer.Argument(metavar="[ACCOUNT]", help="The default account if left out.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the REST interface's JSON.")]


def balance(
    account: Account = None,
    currency: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Show an account's balances as the venue last told them.

    Example: volex balance binanceus --currency USDT
    """
    parameters = {"currency": currency} if currency is not None else {}
    _table(
        lambda rest: f"/balance/{in_path(account or rest.account)}",
        ("currency", "free", "used", "total"),
        json=json,
        data_dir=data_dir,
        parameters=parameters,
    )


def positions(account: Account = None, json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show what is held per symbol, from our own fills.

    Example: volex positions --json
    """
    _table(
        lambda rest: f"/positions/{in_path(account or rest.account)}",
        ("symbol", "side", "amount", "entry_price", "current_price", "unrealized_pnl", "realized_pnl"),
        json=json,
        data_dir=data_dir,
    )


def ticker(
    symbol: Annotated[str, typer.Argument(help="BASE/QUOTE")],
    account: Annotated[str | None, typer.Option("--account", "-a", help="The default account if left out.")] = None,
    json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Show best prices of a symbol.

    Example: volex ticker BTC/USDT
    """
    _table(
        lambda rest: f"/ticker/{in_path(account or rest.account)}/{quote(symbol)}",
        ("symbol", "bid", "ask", "last", "volume", "timestamp"),
        json=json,
        data_dir=data_dir,
    )


def exchanges(json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show the configured accounts, and how their venues answer.

    Example: volex exchanges
    """
    with reaching(data_dir, json=json) as rest:
        names = rest.accounts()
        statuses = [rest.get(f"/exchanges/{in_path(name)}/status") for name in names]
    if json:
        typer.echo(f"[{','.join(statuses)}]")
        return
    columns = ("name", "exchange", "mode", "status", "markets_count", "latency_ms", "last_error")
    rows = [json_text.loads(status) for status in statuses]
    render.table(columns, ([row[name] for name in columns] for row in rows))


def health(json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show how each part answers. Exit code 5 when Temporal or the ledger does not.

    Example: volex health --json
    """
    with reaching(data_dir, json=json) as rest:
        text = rest.get("/health")
    told = json_text.loads(text)
    if json:
        typer.echo(text)
    else:
        parts = dict(told["components"])
        exchanges = {f"exchange {name}": word for name, word in parts.pop("exchanges").items()}
        render.table(("part", "state"), [("all", told["status"]), *parts.items(), *exchanges.items()])
    raise typer.Exit(ExitCode.UNREACHABLE if told["status"] == "unhealthy" else ExitCode.DONE)


def _table(
    path: Callable[[Rest], str],
    columns: tuple[str, ...],
    *,
    json: bool,
    data_dir: Path | None,
    parameters: Mapping[str, str] | None = None,
) -> None:
    """Show one answer, an object or a list of them."""
    with reaching(data_dir, json=json) as rest:
        text = rest.get(path(rest), **(parameters or {}))
    if json:
        typer.echo(text)
        return
    # Numbers are shown as the text that they are.
    told = json_text.loads(text, parse_float=str, parse_int=str)
    render.table(columns, ([row[name] for name in columns] for row in (told if isinstance(told, list) else [told])))


def in_path(account: str) -> str:
    return quote(account, safe="")


def register(app: typer.Typer) -> None:
    """Mount the commands."""
    for command in (balance, positions, ticker, exchanges, health):
        app.command(epilog=EPILOG)(command)
