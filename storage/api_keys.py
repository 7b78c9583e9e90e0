"""`SqlApiKeys`: API keys in the ledger, by their SHA-256."""

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Row, func, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from domain.api_keys import ID_LENGTH, RANDOM_BYTES, ApiKey, NewKey, digest_of, write_key
from domain.errors import KeyNameTaken, KeyNotFound
from storage.api_key_tables import api_keys
from storage.database import in_transaction

_ONE_AT_A_TIME = text("LOCK TABLE api_keys IN SHARE ROW EXCLUSIVE MODE")
_USABLE = api_keys.c.revoked_at.is_(None)


class SqlApiKeys:
    """Implements `domain.api_keys.ApiKeys` over Postgres. What each method promises is said there.

    Parameters
    ----------
    random
        Returns so many random bytes.
    """

    def __init__(self, engine: AsyncEngine, *, random: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._engine = engine
        self._random = random

    async def usable(self) -> Sequence[ApiKey]:
        """Return the keys that are not revoked."""
        rows = await in_transaction(
            self._engine, lambda connection: connection.execute(select(api_keys).where(_USABLE))
        )
        return [_key(row) for row in rows]

    async def listed(self) -> Sequence[ApiKey]:
        """Return every key, newest first."""
        query = select(api_keys).order_by(api_keys.c.created_at.desc(), api_keys.c.key_id)
        rows = await in_transaction(self._engine, lambda connection: connection.execute(query))
        return [_key(row) for row in rows]

    async def create(self, wanted: NewKey, *, rotate: bool = False) -> tuple[ApiKey, str]:
        """Make a key."""
        key_id, shown = write_key(self._random(ID_LENGTH // 2 + RANDOM_BYTES))
        values = {
            "key_id": key_id,
            "name": wanted.name,
            "digest": digest_of(shown.encode()),
            "scopes": sorted(wanted.scopes),
            "accounts": sorted(wanted.accounts) if wanted.accounts is not None else None,
            "created_by": wanted.created_by,
            "expires_at": wanted.expires_at,
        }

        async def write(connection: AsyncConnection) -> ApiKey:
            await connection.execute(_ONE_AT_A_TIME)
            unexpired = or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > func.clock_timestamp())
            same = select(api_keys.c.key_id).where(api_keys.c.name == wanted.name, _USABLE, unexpired)
            others = list((await connection.execute(same)).scalars())
            if others and not rotate:
                raise KeyNameTaken(f"the name {wanted.name} is that of key {others[0]}")
            row = (await connection.execute(insert(api_keys).values(values).returning(api_keys))).one()
            return _key(row)

        return await in_transaction(self._engine, write), shown

    async def revoke(self, which: str, *, by: str, because: str) -> Sequence[ApiKey]:
        """Revoke a key by its id, or all keys of a name."""
        revoking = (
            update(api_keys)
            .where(or_(api_keys.c.key_id == which, api_keys.c.name == which), _USABLE)
            .values(revoked_at=func.clock_timestamp(), revoked_by=by, revoked_because=because)
            .returning(api_keys)
        )
        rows = await in_transaction(self._engine, lambda connection: connection.execute(revoking))
        revoked = [_key(row) for row in rows]
        if not revoked:
            raise KeyNotFound(f"no usable key has the id or name {which[:64]!r}")
        return revoked


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(**{name: getattr(row, name) for name in ApiKey.model_fields})
