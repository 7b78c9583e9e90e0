"""Who makes a request, by its API key, and what each route asks of a key."""

import asyncio
import contextlib
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Depends, Request

from api.errors import KeysUnavailable, NotPermitted
from domain.api_keys import MARK, ApiKey, Caller, Scope, find, id_in
from domain.errors import ExecutionError
from domain.limits import ScopeKind
from settings import Settings

FRESH_S: Final = 1.0
"""No key counts that was not read from the ledger within the last second: so long can a revoked one be used."""
PERIOD_S: Final = 0.4
NEW_S: Final = 0.1
"""A key that is not known is looked for in the ledger again, unless that was read so shortly before."""
ASK_TIMEOUT_S: Final = 2.0


class KeyTable:
    """The ledger's keys as this process knows them, never more than a second old. Costs a request no round trip.

    Once a key of the ledger was shown, they are read every 0.4 s. When the ledger does not answer, no such key counts.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._keys: Mapping[str, ApiKey] = {}
        self._read_at = float("-inf")
        self._load: Callable[[], Awaitable[Sequence[ApiKey]]] | None = None
        self._lock = asyncio.Lock()
        self._shown = asyncio.Event()

    def read_by(self, load: Callable[[], Awaitable[Sequence[ApiKey]]]) -> None:
        """Say how the keys are read; before that, none of them counts."""
        self._load = load

    async def keep(self) -> None:
        """Read the keys as long as this runs."""
        await self._shown.wait()
        while True:
            with contextlib.suppress(KeysUnavailable):
                await self._read(at_most_s=0.0)
            await asyncio.sleep(PERIOD_S)

    async def find(self, shown: bytes) -> Caller | None:
        """Return who shows this key; `None` when it is none, revoked or expired. Raises `KeysUnavailable`."""
        self._shown.set()
        await self._read(at_most_s=FRESH_S)
        if id_in(shown) not in self._keys:
            await self._read(at_most_s=NEW_S)
        return find(shown, self._keys, now=datetime.now(UTC))

    async def _read(self, *, at_most_s: float) -> None:
        if self._clock() - self._read_at < at_most_s:
            return
        waited_from = self._clock()
        async with self._lock:
            if self._read_at >= waited_from or self._clock() - self._read_at < at_most_s:
                return
            began = self._clock()
            if self._load is None:
                raise KeysUnavailable("the keys are not read yet")
            try:
                found = await asyncio.wait_for(self._load(), ASK_TIMEOUT_S)
            except (ExecutionError, TimeoutError):
                raise KeysUnavailable("the ledger, which has the keys, does not answer") from None
            self._keys, self._read_at = {key.key_id: key for key in found}, began


CONFIGURED: Final = "API_KEY"
"""Stands for the id of the configuration's key. It has every scope, and no name: whoever holds it says who it is."""


class KeyDesk:
    """Tells who shows which key: the configuration's one, or one of the ledger."""

    def __init__(self, settings: Settings, table: KeyTable) -> None:
        self._own = settings.api_key.get_secret_value().encode() if settings.api_key is not None else None
        self._is_needed = self._own is not None or settings.api_keys_required or settings.needs_api_key()
        self._table = table

    async def caller(self, shown: bytes) -> Caller | None:
        """Return who shows this key, empty for none; `None` for who may not come in. Raises `KeysUnavailable`."""
        if self._own is not None and hmac.compare_digest(shown, self._own):
            return Caller(key_id=CONFIGURED)
        if shown.startswith(MARK.encode()):
            return await self._table.find(shown)
        return None if self._is_needed else Caller()


# What routes ask for.

OPEN_PATHS: Final = frozenset(
    {
        "/",
        "/health/live",
        "/docs",
        "/openapi.json",
        "/swagger/swagger-ui-bundle.js",
        "/swagger/swagger-ui.css",
        "/swagger/favicon-32x32.png",
    }
)
"""Orchestrators and readers of the documentation need no key."""


@dataclass(frozen=True)
class Right:
    """What a route asks of a key; `minds_accounts`: it looks itself which accounts the key may use."""

    scope: Scope
    minds_accounts: bool = False


RIGHTS: Final[Mapping[tuple[str, str], Right]] = {
    ("GET", "/exchanges"): Right(Scope.READ, minds_accounts=True),
    ("GET", "/approvals"): Right(Scope.READ, minds_accounts=True),
    ("GET", "/health"): Right(Scope.READ, minds_accounts=True),
    ("GET", "/health/ready"): Right(Scope.READ, minds_accounts=True),
    ("POST", "/orders/validate"): Right(Scope.READ, minds_accounts=True),
    ("POST", "/risk/simulate"): Right(Scope.READ, minds_accounts=True),
    ("POST", "/risk/try"): Right(Scope.READ),
    ("POST", "/orders"): Right(Scope.TRADE, minds_accounts=True),
    ("DELETE", "/orders/{exchange}/{order_id}"): Right(Scope.TRADE),
    ("PATCH", "/orders/{exchange}/{order_id}"): Right(Scope.TRADE),
    ("POST", "/risk/kill"): Right(Scope.TRADE, minds_accounts=True),
    ("POST", "/risk/deadman"): Right(Scope.TRADE, minds_accounts=True),
    ("POST", "/risk/deadman/beat"): Right(Scope.TRADE, minds_accounts=True),
    ("POST", "/risk/deadman/disarm"): Right(Scope.TRADE, minds_accounts=True),
    ("POST", "/orders/{exchange}/{order_id}/resolve"): Right(Scope.ADMIN),
    ("POST", "/orders/{exchange}/{order_id}/approve"): Right(Scope.ADMIN),
    ("POST", "/orders/{exchange}/{order_id}/reject"): Right(Scope.ADMIN),
    ("POST", "/cases/{exchange}/{case_id}/close"): Right(Scope.ADMIN),
    ("POST", "/exchanges/{exchange}/reconcile"): Right(Scope.ADMIN),
    ("PATCH", "/risk/limits"): Right(Scope.ADMIN),
    ("POST", "/risk/kill/lift"): Right(Scope.ADMIN),
}
"""Routes that are not here ask for `read` to read, else for `admin`. One whose path names no account is about all of
them, and closed to a key for some, unless it minds the accounts itself."""


def right_of(method: str, path: str) -> Right:
    """Return what a route asks for, by its path as it is declared."""
    return RIGHTS.get((method, path)) or Right(Scope.READ if method in ("GET", "HEAD") else Scope.ADMIN)


async def authorize(request: Request) -> None:
    """Refuse a request that its key has no right to. Runs before every route.

    Raises `NotPermitted`, and `UnknownAccount` for an account that the key may not use, as if it were not there.
    """
    path = request.scope["route"].path
    if path in OPEN_PATHS:
        return
    caller, right = caller_of(request), right_of(request.method, path)
    if not caller.may(right.scope):
        raise NotPermitted(f"this needs a key with the scope {right.scope}")
    account = request.path_params.get("exchange")
    if account is not None:
        caller.check_account(account)
    elif caller.accounts is not None and not right.minds_accounts:
        raise NotPermitted("this needs a key for all accounts")


def caller_of(request: Request) -> Caller:
    """Return who makes the request, as the entrance has found."""
    caller: Caller = request.scope["state"]["caller"]
    return caller


async def _caller(request: Request) -> Caller:
    return caller_of(request)


By = Annotated[Caller, Depends(_caller)]
"""Who makes the request."""


def check_scope(caller: Caller, scope: str) -> None:
    """Raise `NotPermitted` or `UnknownAccount` for a scope of the risk gate beyond the caller's accounts."""
    kind, _, name = scope.partition(":")
    if caller.accounts is None or (kind == ScopeKind.KEY and name == caller.name):
        return
    if kind != ScopeKind.ACCOUNT:
        raise NotPermitted(f"scope {scope!r} reaches beyond the key's accounts")
    caller.check_account(name)
