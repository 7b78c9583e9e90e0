"""`python -m tests.campaign limits`: 64 callers in four processes, killed every second or so, against every limit.

First every account sends more tickets than its limit allows, and nothing of them ends: exactly as many as the limit
allows are admitted. In other accounts of the same ledger tickets are filled, canceled, refused and left in doubt
meanwhile, which makes room. When all is quiet, exactly the room that the facts leave is filled by further tickets.
"""

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # asyncpg ships no types

from domain.reports import Balance
from storage import limit_sets
from storage.database import in_transaction, open_engine
from storage.exposure_audit import audit
from storage.order_store import SqlOrderStore
from tests.campaign.limits import judge, lives
from tests.campaign.limits.cases import CASES, FATES, RICH, UNIT, Fate, Front, Ticket, limit_set
from tests.campaign.limits.lives import Told

ROOM_EXTRA = 5
"""Tickets sent beyond the room that is left at the end."""
KILL_AFTER = 25
"""Answers between two kills at least: on a busy machine a process needs longer than a second to start."""
REPEATED = 8
"""Answered tickets that every new process asks about once more."""
_FORK = get_context("fork")


@dataclass(frozen=True)
class Plan:
    """One run. `kill_every_s` is the mean of the seconds between two kills; `tickets` is per limit and phase."""

    seed: int
    tickets: int = 10_000
    units: int = 3217
    callers: int = 64
    processes: int = 4
    kill_every_s: float = 1.0
    within_s: float = 3600.0
    cases: tuple[str, ...] = tuple(case.name for case in CASES)
    phases: tuple[bool, ...] = (False, True)
    fates: tuple[Fate, ...] = FATES

    def fronts(self) -> list[Front]:
        """Return what is attacked."""
        chosen = [case for case in CASES if case.name in self.cases]
        names = {False: "kept", True: "moved"}
        return [
            Front(f"{names[moves]}-{case.name}", case, self.units, moves, self.fates)
            for moves in self.phases
            for case in chosen
        ]


@dataclass
class Worker:
    """One process and the tickets that it has not answered yet."""

    tickets: dict[Ticket, None]
    process: ForkProcess | None = None
    line: Connection | None = None


@dataclass
class Field:
    """The run as it goes on."""

    plan: Plan
    url: str
    dice: random.Random
    answers: dict[Ticket, Told] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    kills: int = 0

    def attack(self, tickets: list[Ticket], seen: Connection) -> None:
        """Let the processes answer all tickets, killing one of them now and then; ends at the first problem."""
        count = self.plan.processes
        workers = [Worker(dict.fromkeys(tickets[index::count])) for index in range(count)]
        answered = len(self.answers)
        deadline, next_kill = time.monotonic() + self.plan.within_s, time.monotonic() + self._pause()
        try:
            while any(worker.tickets for worker in workers) and not self.problems:
                if time.monotonic() > deadline:
                    self.problems.append(f"{sum(len(worker.tickets) for worker in workers)} tickets are not answered")
                for worker in workers:
                    self._keep_alive(worker)
                self._hear(workers, seen)
                if time.monotonic() > next_kill and len(self.answers) >= answered + KILL_AFTER:
                    self._kill(self.dice.choice(workers))
                    answered, next_kill = len(self.answers), time.monotonic() + self._pause()
        finally:
            for worker in workers:
                _end(worker)

    def _pause(self) -> float:
        return self.plan.kill_every_s * self.dice.uniform(0.5, 1.5)

    def _keep_alive(self, worker: Worker) -> None:
        if worker.process is not None or not worker.tickets:
            return
        again = list(self.answers)[-REPEATED:]
        worker.line, theirs = _FORK.Pipe(duplex=False)
        tickets = [*again, *worker.tickets]
        callers = self.plan.callers // self.plan.processes
        worker.process = _FORK.Process(target=lives.serve, args=(self.url, tickets, callers, theirs), daemon=True)
        worker.process.start()
        theirs.close()

    def _hear(self, workers: list[Worker], seen: Connection) -> None:
        lines = {worker.line: worker for worker in workers if worker.line is not None}
        for line in wait([seen, *lines], timeout=0.1):
            if line is seen:
                self._seen(seen)
                continue
            worker = lines[line]  # type: ignore[index]  # only connections were waited for
            try:
                self._answered(worker, worker.line.recv())  # type: ignore[union-attr]  # it is the line waited for
            except (EOFError, OSError):
                killed = worker.process is None or worker.process.exitcode == -9
                _end(worker)
                if worker.tickets and not killed:
                    self.problems.append("a worker ended by itself")

    def _seen(self, seen: Connection) -> None:
        try:
            self.problems += seen.recv()[1]
        except (EOFError, OSError):
            self.problems.append("the judge ended by itself")

    def _answered(self, worker: Worker, told: Told) -> None:
        worker.tickets.pop(told.ticket, None)
        first = self.answers.setdefault(told.ticket, told)
        if (first.answer, first.code, first.numbers) != (told.answer, told.code, told.numbers):
            self.problems.append(f"repeated, {first} became {told}")

    def _kill(self, worker: Worker) -> None:
        if worker.process is not None and worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
            self.kills += 1  # its line ends, and `_hear` lets it begin anew


def _end(worker: Worker) -> None:
    if worker.process is not None:
        worker.process.kill()
        worker.process.join()
    if worker.line is not None:
        worker.line.close()
    worker.process = worker.line = None


@contextmanager
def _judged(url: str, fronts: list[Front], told: list[Any]) -> Iterator[Connection]:
    """Run the judge beside."""
    ours, theirs = _FORK.Pipe()
    process = _FORK.Process(target=judge.serve, args=(url, fronts, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        try:
            ours.send("stop")
            while ours.poll(30):
                told.append(ours.recv())
        except (EOFError, OSError):
            pass
        process.kill()
        process.join()
        ours.close()


def run(plan: Plan, url: str) -> dict[str, Any]:
    """Run it on an empty ledger, and return the report. Forks: no event loop may be running."""
    fronts = plan.fronts()
    asyncio.run(_prepare(url, fronts))
    field_, heard = Field(plan, url, random.Random(plan.seed)), list[Any]()
    began = time.monotonic()
    tickets = [ticket for front in fronts for ticket in front.tickets(plan.seed, 0, plan.tickets)]
    field_.dice.shuffle(tickets)
    with _judged(url, fronts, heard) as seen:
        field_.attack(tickets, seen)
        seconds = time.monotonic() - began
        if not field_.problems:
            field_.problems += _wrong(plan, fronts, field_.answers)
        if not field_.problems:
            field_.attack(_further(url, fronts, plan), seen)
    for kind, *words in heard:
        field_.problems += words[0] if kind == "problems" else []
    looks = next((words for kind, *words in heard if kind == "looks"), [0, 0])
    if not field_.problems:
        field_.problems += asyncio.run(_at_last(url, fronts))
    counts = Counter(f"{told.ticket.account} {told.code or told.answer}" for told in field_.answers.values())
    return {
        "seed": plan.seed,
        "tickets": len(field_.answers),
        "admitted": sum(told.answer == "ALLOW" for told in field_.answers.values()),
        "seconds": round(seconds, 1),
        "admissions_per_s": round(len(tickets) / seconds, 1),
        "kills": field_.kills,
        "looks": looks[0],
        "audits": looks[1],
        "answers": dict(sorted(counts.items())),
        "violations": field_.problems,
    }


def _wrong(plan: Plan, fronts: list[Front], answers: dict[Ticket, Told]) -> list[str]:
    """Say what is wrong with the answers: numbers missing, or not exactly as many admitted as the limit allows."""
    problems, admitted = [], defaultdict[str, int](int)
    cases = {front.account: front.case for front in fronts}
    for told in answers.values():
        case = cases[told.ticket.account]
        if told.answer == "ALLOW":
            admitted[told.ticket.account] += 1
        elif (told.answer, told.code) != ("DENY", case.code) or case.number not in told.numbers:
            problems.append(f"{told.ticket.account}: {told.answer} {told.code} {told.numbers}")
    for front in fronts:
        exact = not front.moves or front.case.name == "rate"  # what a rate has counted stays counted
        if exact and admitted[front.account] != min(front.units, plan.tickets):
            problems.append(f"{front.account}: {admitted[front.account]} admitted, the limit allows {front.units}")
    return problems[:5]


def _further(url: str, fronts: list[Front], plan: Plan) -> list[Ticket]:
    """Return more tickets than the limits leave room for; none of them ends."""

    async def uses() -> judge.Snapshot:
        connection = await asyncpg.connect(url)
        try:
            return await judge.look(connection, fronts)
        finally:
            await connection.close()

    found = asyncio.run(uses()).uses
    tickets = []
    for front in fronts:
        room = front.units - int(found[front.account].of(front.case.measure))
        further = Front(front.account, front.case, front.units, moves=False)
        tickets += further.tickets(plan.seed, plan.tickets, max(room, 0) + ROOM_EXTRA)
    return tickets


async def _at_last(url: str, fronts: list[Front]) -> list[str]:
    """Judge the ledger at rest: every limit is used up, but for less than a ticket; nothing has leaked."""
    connection, engine = await asyncpg.connect(url), open_engine(url, application_name="judge", pool_size=1)
    try:
        found = await judge.look(connection, fronts)
        problems = [*found.problems, *(f"audit: {difference}" for difference in await audit(engine))]
    finally:
        await connection.close()
        await engine.dispose()
    for front in fronts:
        used = found.uses[front.account].of(front.case.measure)
        if not front.units - 1 < used <= front.units:
            problems.append(f"{front.account}: {used} tickets used at last, the limit allows {front.units}")
    return problems[:5]


async def _prepare(url: str, fronts: list[Front]) -> None:
    """Let the venue tell balances, and the limits hold."""
    engine = open_engine(url, application_name="prepare", pool_size=2)
    store, now = SqlOrderStore(engine), datetime.now(UTC)
    for front in fronts:
        told = {"USDT": front.funds(), "BTC": RICH * UNIT}
        balances = [Balance(asset=name, free=amount, used=RICH * 0, total=amount) for name, amount in told.items()]
        await store.record_balances(front.account, balances, asked_at=now - timedelta(minutes=1))
    limits, why = limit_set(fronts), {"source": "operator", "changed_by": "test", "because": "a test"}
    await in_transaction(engine, lambda connection: limit_sets.add(connection, limits, **why, now=now))
    await engine.dispose()
