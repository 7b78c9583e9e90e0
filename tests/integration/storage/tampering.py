"""Hands that change the ledger past its triggers, as a superuser can: one row at a time, at random, and say which."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.audit import Tampering

KEYS: Final = {
    "audit_events": ("entry_id",),
    "order_events": ("account", "order_id", "seq"),
    "fills": ("account", "symbol", "venue_order_id", "trade_id"),
    "kill_events": ("event_id",),
    "limit_sets": ("version",),
    "approvals": ("approval_id",),
    "cases": ("case_id",),
    "audit_bodies": ("hash",),
    "audit_checkpoints": ("number",),
    "audit_heads": ("number", "chain"),
}
IDENTITIES: Final = ("kill_events", "limit_sets", "approvals", "cases")
UNIQUE: Final = {"audit_events": ("seq",), "approvals": ("order_id",), "cases": ("code",)}
"""Beside the keys, what must differ in a copy of a row for the database to take it."""
FREE: Final = {("fills", "recorded_at")}
"""Columns that say nothing: the fact of a fill says when it was recorded."""
_OTHER: Final = {
    "text": "coalesce({0}, '') || 'x'",
    "bigint": "coalesce({0}, 0) + 1000",
    "integer": "coalesce({0}, 0) + 1000",
    "numeric": "coalesce({0}, 0) + 0.000000000000000001",
    "timestamp with time zone": "coalesce({0}, clock_timestamp()) + interval '1 microsecond'",
    "jsonb": "CASE WHEN jsonb_typeof({0}) = 'array' THEN {0} || '[1]' ELSE coalesce({0}, '{{}}') || '{{\"x\": 1}}' END",
    "bytea": "set_byte({0}, 5, get_byte({0}, 5) # 1)",
}
"""An expression of another value, by the column's type."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Deed:
    """What was done, and how to tell that a finding names the row that it was done to."""

    told: str
    names_it: Callable[[Tampering], bool]
    chains: frozenset[str | None]
    """The chains that findings may be about."""


class Tamperer:
    """Does one deed at a time inside a transaction that is rolled back afterwards."""

    def __init__(self, connection: AsyncConnection, seed: int) -> None:
        self._connection = connection
        self._dice = random.Random(seed)
        self._types: dict[str, dict[str, str]] = {}

    async def prepare(self) -> None:
        """Switch off every trigger and foreign key of this session, and learn the columns."""
        await self._run("SET LOCAL session_replication_role = replica")
        for table in KEYS:
            query = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = :table"
            self._types[table] = {row[0]: row[1] for row in await self._run(query, table=table)}
        for table in IDENTITIES:
            await self._run(f"ALTER TABLE {table} ALTER COLUMN {KEYS[table][0]} DROP IDENTITY")

    async def do_something(self) -> Deed:
        """Do a deed of a random kind."""
        single = (self.change, self.change, self.delete, self.insert, self.swap)
        kind = self._dice.choice((*single, *single, self.delete_newest, self.delete_order))
        deed: Deed = await kind()
        return deed

    async def change(self) -> Deed:
        """Change a random column of a random row."""
        table, row = await self._pick()
        column = self._dice.choice([name for name in sorted(self._types[table]) if (table, name) not in FREE])
        other = _OTHER[self._types[table][column]].format(column)
        statement = f"UPDATE {table} SET {column} = {other} WHERE ctid = :at RETURNING *"
        now = (await self._run(statement, at=row["ctid"])).one()
        return self._deed(f"change {table}.{column}", table, row, dict(now._mapping))

    async def delete(self) -> Deed:
        """Delete a random row."""
        table, row = await self._pick()
        await self._run(f"DELETE FROM {table} WHERE ctid = :at", at=row["ctid"])
        return self._deed(f"delete from {table}", table, row)

    async def insert(self) -> Deed:
        """Insert a copy of a random row under another key."""
        table, row = await self._pick()
        changed = {KEYS[table][-1], *UNIQUE.get(table, ())}
        types = self._types[table]
        values = [_OTHER[types[name]].format(name) if name in changed else name for name in types]
        columns = ", ".join(types)
        made = await self._run(
            f"INSERT INTO {table} ({columns}) SELECT {', '.join(values)} FROM {table} WHERE ctid = :at RETURNING *",
            at=row["ctid"],
        )
        return self._deed(f"insert into {table}", table, dict(made.one()._mapping), row)

    async def swap(self) -> Deed:
        """Let two rows that differ change places: each has the other's content under its own key."""
        while True:
            table, row = await self._pick()
            _, other = await self._pick(table)
            stay = {*KEYS[table], *UNIQUE.get(table, ()), *(["chain"] if table == "audit_events" else [])}
            names = [name for name in self._types[table] if name not in stay]
            if any(row[name] != other[name] for name in names):
                break
        sets = ", ".join(f"{name} = b.{name}" for name in names)
        pair = "(a.ctid = :one AND b.ctid = :two OR a.ctid = :two AND b.ctid = :one)"
        await self._run(
            f"UPDATE {table} AS a SET {sets} FROM {table} AS b WHERE {pair}", one=row["ctid"], two=other["ctid"]
        )
        return self._deed(f"swap in {table}", table, row, other)

    async def delete_newest(self) -> Deed:
        """Delete the newest fact of an order wherever it is, and let the order's row know no better."""
        row = dict((await self._any_of("orders"))._mapping)
        key = {"account": row["account"], "order_id": row["order_id"], "seq": row["seq"]}
        chain = f"order:{row['account']}/{row['order_id']}"
        mine = "account = :account AND order_id = :order_id"
        await self._run(f"DELETE FROM order_events WHERE {mine} AND seq = :seq", **key)
        await self._run("DELETE FROM audit_events WHERE chain = :chain AND seq = :seq", chain=chain, seq=row["seq"])
        await self._run(
            f"UPDATE orders SET seq = seq - 1 WHERE {mine}", account=key["account"], order_id=key["order_id"]
        )

        def names_it(found: Tampering) -> bool:
            return (found.kind, found.table, found.chain, found.seq) == ("missing", "audit_events", chain, row["seq"])

        return Deed(f"delete the newest fact of {chain}", names_it, frozenset({chain}))

    async def delete_order(self) -> Deed:
        """Delete every row of an order."""
        row = dict((await self._any_of("orders"))._mapping)
        account, order_id = row["account"], row["order_id"]
        for table in ("order_events", "fills", "attempts", "reservations", "approvals", "cases", "orders"):
            where = "account = :account AND order_id = :order_id"
            await self._run(f"DELETE FROM {table} WHERE {where}", account=account, order_id=order_id)
        chains = frozenset(f"{kind}:{account}/{order_id}" for kind in ("order", "approval"))
        await self._run("DELETE FROM audit_events WHERE chain = ANY(:chains)", chains=list(chains))

        def names_it(found: Tampering) -> bool:
            order = (found.chain, found.seq) == (f"order:{account}/{order_id}", row["seq"])
            return (found.kind, found.table) == ("missing", "audit_events") and order

        cases = [r[0] for r in await self._run("SELECT chain FROM audit_events WHERE chain LIKE 'case:%'")]
        return Deed(f"delete order {order_id}", names_it, chains | frozenset(cases))

    def _deed(self, told: str, table: str, *rows: Row) -> Deed:
        chains = frozenset(_chain(table, row) for row in rows)
        return Deed(told, lambda found: any(_names(found, table, row) for row in rows[:1]), chains)

    async def _pick(self, table: str | None = None) -> tuple[str, Row]:
        while True:
            chosen = table or self._dice.choice((*KEYS, "audit_events", "order_events"))
            row = await self._any_of(chosen)
            if row is not None:
                return chosen, dict(row._mapping)

    async def _any_of(self, table: str) -> Any:
        rows = list(await self._run(f"SELECT ctid, * FROM {table} ORDER BY {', '.join(KEYS.get(table, ('number',)))}"))
        return self._dice.choice(rows) if rows else None

    async def _run(self, statement: str, **values: Any) -> Any:
        return await self._connection.execute(text(statement), values)


def _chain(table: str, row: Row) -> str | None:
    if table in ("order_events", "fills"):
        return f"order:{row['account']}/{row['order_id']}"
    if table == "approvals":
        return f"approval:{row['account']}/{row['order_id']}"
    if table == "cases":
        return f"case:{row['account']}/{row['case_id']}"
    if table == "kill_events":
        return f"kill:{row['scope']}"
    return "limits" if table == "limit_sets" else row.get("chain")


def _names(found: Tampering, table: str, row: Row) -> bool:
    """Tell whether a finding is about this row: its table and its key as people read it."""
    if table == "audit_events":
        mine = (found.chain, found.seq) == (row["chain"], row["seq"]) or found.row == f"entry_id={row['entry_id']}"
        return found.table in ("audit_events", "order_events") and mine
    if table == "order_events":
        at = f"order={row['account']}/{row['order_id']} seq={row['seq']}"
    elif table == "fills":
        return found.table == table and found.row.startswith(f"order={row['account']}/{row['order_id']} ")
    elif table == "audit_bodies":
        at = f"hash={row['hash'].hex()}"
    else:
        at = " ".join(f"{name}={row[name]}" for name in KEYS[table])
    return (found.table, found.row) == (table, at)
