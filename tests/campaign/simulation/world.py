"""One episode: a world of agents, workers, a ledger and a venue, from one seed, until it is quiet again."""

import zlib
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any

from domain.limits import Limits, LimitSet
from domain.order import Order, OrderRequest, TradingMode
from domain.ports import Notice
from domain.risk import AccountTerms
from tests.campaign.simulation.agents import Agents
from tests.campaign.simulation.clock import EPOCH, VirtualLoop
from tests.campaign.simulation.judge import Judge, Violation
from tests.campaign.simulation.memory_store import MemoryOrderStore
from tests.campaign.simulation.plan import SKEW_MAX_S, Plan, draw_plan
from tests.campaign.simulation.temporal import SimulatedTemporal
from tests.campaign.simulation.venue import SimVenue
from tests.campaign.simulation.workers import Worker
from workflows.messages import OrderInput
from workflows.order_workflow import OrderWorkflow

CALM_AFTER_S = 8.0
"""After the last order came, faults go on for so long."""
GIVE_UP_AFTER_S = 15.0
"""Then orders that rest are canceled."""
QUIET_WITHIN_S = 300.0
"""And by then everything must have ended (I9)."""
BALANCES_WITHIN_S = 35.0
WORKERS = 2
LIMITS = Limits(max_order_notional=Decimal(5_000))


@dataclass
class Tally:
    """What was done in some episodes."""

    lives: int = 0
    episodes: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    activities_killed: int = 0
    stops: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    placed: int = 0
    fills: int = 0
    checks: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    virtual_s: float = 0.0

    def add(self, other: "Tally") -> None:
        """Take another tally in."""
        for name in self.__dataclass_fields__:
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, Counter):
                mine.update(theirs)
            else:
                setattr(self, name, mine + theirs)


class World:
    """Everything of one episode. The same seed and number give the same episode, event for event."""

    def __init__(self, seed: int, episode: int, *, plan: Plan | None = None, traced: bool = False) -> None:
        self.seed = seed
        self.episode = episode
        self.rng = Random(f"{seed}:{episode}")
        self.plan = plan or draw_plan(self.rng)
        self.trace: list[tuple[float, str, str]] | None = [] if traced else None
        self.tally = Tally()
        self.loop = VirtualLoop()
        self.calm = False
        self.venue_down = False
        self.store_down = False
        self.killed_since: float | None = None
        self.judge = Judge(self)
        self.store = MemoryOrderStore(self.judge.committed)
        self.store.limit_set = LimitSet(accounts=LIMITS)
        self.terms = {
            name: AccountTerms(account=name, exchange="binance", mode=TradingMode.LIVE, reconciled_since=EPOCH)
            for name in ("first", "second")[: self.plan.accounts]
        }
        self.venues = {name: SimVenue(self, name, self._funds()) for name in self.terms}
        self.temporal = SimulatedTemporal(self)
        self.agents = Agents(self)
        self._rough()
        self.workers = [self._worker(number, 0) for number in range(WORKERS)]

    def _funds(self) -> dict[str, Decimal]:
        share = Decimal(str(self.plan.funds)) * self.plan.orders / self.plan.accounts
        return {"USDT": share * 70, "BTC": share * Decimal("0.6"), "ETH": share * Decimal("0.4"), "BNB": Decimal(100)}

    def _worker(self, number: int, generation: int) -> Worker:
        return Worker(self, number, generation, (self.rng.random() * 2 - 1) * SKEW_MAX_S)

    # The episode.

    def run(self) -> list[Violation]:
        """Live it through, and return what was broken."""
        plan, later = self.plan, self.loop.call_later
        self.agents.schedule()
        for account in self.venues:
            later(0.0, self.temporal.start_feed, account)
            later(0.0, self.temporal.start_reconciler, account)
        calm_at = plan.span_s + CALM_AFTER_S
        for _ in range(plan.outages):
            later(self.rng.random() * calm_at, self._outage, "venue_down", self.rng.random() * 6)
        for _ in range(plan.store_outages):
            later(self.rng.random() * calm_at, self._outage, "store_down", self.rng.random() * 3)
        for _ in range(plan.kill_switches):
            later(self.rng.random() * plan.span_s, self._kill_switch, self.rng.random() * 8)
        if self.kill_chance:
            later(self.rng.random() * 5, self._kill_between)
        for _ in range(plan.terminations):
            later(self.rng.random() * calm_at, self._terminate)
        if plan.temporal_lost:
            later(self.rng.random() * calm_at, self._lose_temporal)
        later(plan.span_s * self.rng.random(), self._roll)
        later(calm_at, self._calm_down)
        later(calm_at + GIVE_UP_AFTER_S, self.agents.give_up_all)
        limit = calm_at + GIVE_UP_AFTER_S + QUIET_WITHIN_S
        self.loop.run(limit, self._quiet)
        self.loop.run(self.loop.time() + BALANCES_WITHIN_S, lambda: False)
        self.judge.close()
        self._count()
        self.loop.drop()
        return self.judge.violations

    def _quiet(self) -> bool:
        """Tell whether every order has ended, also one whose workflow is gone and not adopted yet."""
        if not self.calm or self.temporal.open_orders:
            return False
        return all(row.order.finalized for name in self.venues for row in self.store.book(name).orders.values())

    def _count(self) -> None:
        tally = self.tally
        tally.lives, tally.episodes = len(self.judge.lives), 1
        tally.checks, tally.virtual_s = self.judge.checks, self.loop.time()
        tally.counts.update(self.agents.answers)
        for venue in self.venues.values():
            tally.placed += len(venue.orders)
            tally.fills += sum(len(trades) for trades in venue.trades.values())
        for name in self.venues:
            for row in self.store.book(name).orders.values():
                tally.endings[row.order.status] += 1
        for life in self.judge.lives.values():
            if life.kills and life.faults:
                for point in life.kills:
                    for kind in life.faults:
                        tally.pairs[kind, point] += 1

    # Chance and weather.

    def _rough(self) -> None:
        plan = self.plan
        self.kill_chance = plan.kill
        self.stop_chance = plan.kill + plan.stop
        self.store_fault_chance = plan.store_fault

    def _calm_down(self) -> None:
        self.calm = True
        self.kill_chance = self.stop_chance = self.store_fault_chance = 0.0
        self.venue_down = self.store_down = False
        self._lift()
        for worker in self.workers:
            self._wake(worker)

    def chaos(self, chance: float) -> float:
        """Return the chance of a fault: none once the weather is calm."""
        return 0.0 if self.calm else chance

    def _outage(self, name: str, seconds: float) -> None:
        if not self.calm:
            setattr(self, name, True)
            self.loop.call_later(seconds, setattr, self, name, False)

    def _kill_switch(self, seconds: float) -> None:
        if not self.calm:
            self.store.kill_switches["global"] = "campaign"
            self.killed_since = self.loop.time()
            self.fault("kill_switch", "")
            self.loop.call_later(seconds, self._lift)

    def _lift(self) -> None:
        self.store.kill_switches.clear()
        self.killed_since = None

    def _terminate(self) -> None:
        """Somebody terminates an order's workflow: the order lives on, and is adopted."""
        runs = [run for run in self.temporal.runs.values() if run.kind is OrderWorkflow and not run.done]
        runs = [run for run in runs if run.start.request.order_id in self.store.book(run.start.request.account).orders]
        if runs and not self.calm:
            run = runs[int(self.rng.random() * len(runs))]
            self.fault("workflow_terminated", run.start.request.order_id)
            self.note(run.start.request.order_id, "its workflow is TERMINATED")
            self.temporal.terminate(run)

    def _lose_temporal(self) -> None:
        """Temporal's whole store is lost: every workflow is gone, and the ledger carries on."""
        if self.calm:
            return
        self.fault("temporal_lost", "")
        for run in list(self.temporal.runs.values()):
            if not run.done:
                self.temporal.terminate(run)
        for account in self.venues:
            self.temporal.start_feed(account)
            self.temporal.start_reconciler(account)

    def _roll(self) -> None:
        """A rolling deployment: each worker is asked to end its long activities."""
        for worker in self.workers:
            if worker.alive and not worker.paused:
                self.fault("graceful_shutdown", "")
                worker.shut_down()

    # Deaths.

    def _kill_between(self) -> None:
        if self.calm:
            return
        worker = self.workers[int(self.rng.random() * WORKERS)]
        if worker.alive:
            self.kill(worker, "between two steps", "")
        self.loop.call_later(1 + self.rng.random() * 8, self._kill_between)

    def kill(self, worker: Worker, point: str, order_id: str) -> None:
        """SIGKILL: every activity of the worker ends where it stands, and it is started again soon."""
        self._bury(worker, point, order_id)
        if self.rng.random() < self.plan.both:
            for other in self.workers:
                if other.alive:
                    self.fault("both_workers_killed", order_id)
                    self._bury(other, "between two steps", "")

    def _bury(self, worker: Worker, point: str, order_id: str) -> None:
        self.tally.kills[point] += 1
        self.tally.activities_killed += len(worker.executions)
        life = self.judge.life_of(order_id)
        if life is not None:
            life.kills.add(point)
        if point == "between two steps":
            for execution in worker.executions:
                named = self.judge.lives.get(getattr(execution.activity.argument, "order_id", ""))
                if named is not None:
                    named.kills.add(point)
        self.note(order_id, f"KILL {worker.identity} at {point}")
        if self.tally.kills[point] % 8 == 1:
            self.judge.check_reservations()
        worker.die()
        self.loop.call_later(0.2 + self.rng.random() * 1.5, self._restart, worker)

    def _restart(self, worker: Worker) -> None:
        self.workers[worker.number] = self._worker(worker.number, worker.generation + 1)
        self.temporal.worker_ready()

    def stop(self, worker: Worker, point: str, order_id: str) -> None:
        """SIGSTOP, and SIGCONT some time later: the worker goes on as if nothing had happened."""
        if worker.paused:
            return
        self.tally.stops[point] += 1
        self.fault("worker_stopped", order_id)
        self.note(order_id, f"STOP {worker.identity} at {point}")
        worker.sleep()
        self.loop.call_later(0.5 + self.rng.random() ** 2 * 60, self._wake, worker)

    def _wake(self, worker: Worker) -> None:
        if worker.alive and worker.paused:
            worker.wake()
            self.temporal.worker_ready()

    # What is counted and told.

    def fault(self, kind: str, order_id: str) -> None:
        """Count a fault, and remember which intent met it."""
        self.tally.faults[kind] += 1
        if order_id:
            life = self.judge.life_of(order_id)
            if life is not None:
                life.faults.add(kind)

    def count(self, name: str) -> None:
        """Count something that is no fault."""
        self.tally.counts[name] += 1

    def note(self, order_id: str, text: str) -> None:
        """Write a step down, where a trace is kept."""
        if self.trace is not None:
            life = self.judge.life_of(order_id)
            self.trace.append((self.loop.time(), life.request.order_id if life else order_id, text))

    def defect(self, activity: str, argument: Any, error: BaseException) -> None:
        """An activity raised what is no failure of ours: not weather, but a defect."""
        order_id = getattr(argument, "order_id", "")
        if isinstance(argument, OrderRequest):
            order_id = argument.order_id
        if "unavailable" not in str(error):
            self.judge.violate("I9", order_id, f"{activity} raised {error!r}")

    def deliver(self, notice: Notice) -> None:
        """Bring a notice to the order's workflow; without a running one, start one that adopts it."""
        order = notice.order
        run = self.temporal.runs.get(f"order-{order.account}-{order.order_id}")
        if run is not None and not run.done:
            run.signal("report", notice)
        elif not order.finalized:
            self.adopt(order)

    def adopt(self, order: Order) -> None:
        """Start a workflow that carries on an order of the ledger, unless one runs."""
        request = self.judge.lives[order.order_id].request
        self.count("adopted")
        self.note(order.order_id, f"adopted as {order.status} seq {order.seq}")
        self.temporal.start_order(OrderInput(request=request, adopt=order))

    def trace_hash(self) -> str:
        """Return the mark of everything that happened."""
        return f"{zlib.crc32(repr(self.trace).encode()):08x}"

    def story(self, order_id: str, last: int = 40) -> list[str]:
        """Return the last steps of one order."""
        steps = [(at, text) for at, named, text in self.trace or () if named == order_id]
        return [f"{at:9.3f} s  {text}" for at, text in steps[-last:]]
