"""What hostile requests must not do: crash the interface, change anything, or get a secret to see."""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg

from tests.campaign.hostile.corpus import Shot
from tests.faults.floor import Floor

TABLES: Final = (
    "orders", "order_events", "attempts", "fills", "reservations", "kill_switches", "kill_events", "deadman_switches",
    "limit_sets", "approvals", "cases", "api_keys",
)  # fmt: skip
"""What requests could change; rows that feeds, reconciler and beats write by themselves are not among them."""
JUSTIFIED: Final[Mapping[str, str]] = {
    "API_KEYS_UNAVAILABLE": "the ledger did not answer in time: no key can be trusted",
    "VENUE_UNAVAILABLE": "the venue did not tell what the request is about",
    "EXCHANGE_UNAVAILABLE": "likewise",
    "STORE_UNAVAILABLE": "the ledger did not answer in time",
    "TEMPORAL_UNAVAILABLE": "Temporal did not answer in time",
}
"""The codes of a 503 that are documented: what is needed did not answer, and nothing was done."""
_INSIDES: Final = re.compile(
    rb"Traceback|File \"/|site-packages|sqlalchemy|asyncpg|temporalio|pydantic_core|<class '|0x7f[0-9a-f]{6}"
)


@dataclass(frozen=True)
class State:
    """The ledger's rows, and what the venue was asked to do."""

    rows: Mapping[str, str]
    orders: frozenset[str]
    venue: int


@dataclass
class Verdict:
    """What was found."""

    statuses: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    orders_told: set[str] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)
    """Requests with rights that were answered with success, by route."""

    times: dict[str, float] = field(default_factory=dict)

    def took(self, shot: Shot, seconds: float) -> None:
        """Keep the longest that a route has taken."""
        route = f"{shot.method} {shot.path}"
        self.times[route] = max(seconds, self.times.get(route, 0.0))

    def slowest(self) -> list[tuple[str, float]]:
        """Return the three routes that took longest once, in seconds."""
        return sorted(self.times.items(), key=lambda entry: -entry[1])[:3]

    def report(self) -> dict[str, Any]:
        """Return the figures."""
        return {
            "requests": self.statuses.total(),
            "statuses": dict(sorted(self.statuses.items())),
            "kinds": dict(self.kinds),
            "done_with_rights": dict(self.done),
            "slowest": {route: round(seconds, 1) for route, seconds in self.slowest()},
            "violations": self.violations[:20],
        }

    def compare(self, before: State, after: State, *, untouched: Collection[str]) -> None:
        """Put down what requests without rights have done; `untouched` are routes that change nothing for anybody."""
        changed = [table for table in before.rows if before.rows[table] != after.rows[table]]
        self.violations += [f"without rights, table {table} has changed" for table in changed]
        if before.venue != after.venue:
            self.violations.append(f"without rights, the venue was asked {after.venue - before.venue} times")
        if self.done.keys() - set(untouched):
            self.violations.append(f"without rights, answered with success: {dict(self.done)}")

    def blame(self, shot: Shot, why: str, answer: bytes) -> None:
        """Put a violation down, with what repeats it."""
        self.violations.append(f"{why}: key {shot.key}, {shot.raw[:300]!r} -> {answer[:300]!r}")

    def judge(self, shot: Shot, answer: bytes, secrets: Mapping[str, bytes]) -> None:
        """Look at one answer; an empty one is a connection that was closed, which is a refusal."""
        status = answer[9:12].decode("ascii", "replace") if answer.startswith(b"HTTP/1.1 ") else "none"
        self.statuses[status] += 1
        self.kinds[shot.what] += 1
        body = answer.partition(b"\r\n\r\n")[2]
        if status >= "500" and status != "none":
            code = re.search(rb'"code":"([A-Z_]+)"', body)
            if status != "503" or code is None or code[1].decode() not in JUSTIFIED:
                self.blame(shot, f"status {status}", answer)
        for name, secret in secrets.items():
            if secret in answer:
                self.blame(shot, f"shows {name}", answer)
        if _INSIDES.search(answer):
            self.blame(shot, "shows its insides", answer)
        if b"access-control-" in answer.lower():
            self.blame(shot, "allows other sites", answer)
        if status.startswith("2") and shot.method not in ("GET", "HEAD", "OPTIONS"):
            self.done[f"{shot.method} {shot.path}"] += 1
        self.orders_told |= {found.decode() for found in re.findall(rb'"id":"([a-f][0-9a-f]{15})"', body)}


async def look(floor: Floor) -> State:
    """Read what must not change."""
    database: asyncpg.Connection = floor.database
    there = {row[0] for row in await database.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
    rows: dict[str, Any] = {}
    for table in TABLES:
        if table in there:
            query = (
                f"SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM {table} t"
            )
            rows[table] = await database.fetchval(query)
    orders = frozenset(row[0] for row in await database.fetch("SELECT order_id FROM orders"))
    seen = (await floor.venue.get("/requests")).json()
    changing = [entry for entry in seen if entry["method"] in ("POST", "DELETE", "PUT")]
    return State(rows, orders, len(changing))
