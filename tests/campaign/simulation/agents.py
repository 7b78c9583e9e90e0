"""The trading agents: what they ask for, and how they change their minds."""

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from temporalio.exceptions import ApplicationError

from domain.identifiers import order_id_from_bytes, order_workflow_id
from domain.order import OrderRequest, OrderSide, OrderTicket, OrderType, TimeInForce
from tests.campaign.simulation.judge import Life
from tests.campaign.simulation.quick import quick
from tests.campaign.simulation.venue import OPEN, PRICES, STEP
from tests.campaign.simulation.workflow_runs import WorkflowRun
from workflows.messages import AmendOrder, CancelOrder, OrderInput, PlaceOrder

if TYPE_CHECKING:
    from tests.campaign.simulation.world import World

GIVE_UP_EVERY_S = 20.0
"""An order whose attempts took long may come to rest after the others were given up."""
_SYMBOLS = tuple(PRICES)
_CANCEL = CancelOrder(requested_by="agent", because="changed its mind")
_KINDS = (
    (0.25, OrderType.MARKET, TimeInForce.GTC),
    (0.78, OrderType.LIMIT, TimeInForce.GTC),
    (0.9, OrderType.LIMIT, TimeInForce.IOC),
    (1.0, OrderType.LIMIT, TimeInForce.FOK),
)


class Agents:
    """All agents of an episode."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.rng = world.rng
        self.answers: dict[str, int] = {}

    def schedule(self) -> None:
        """Let the orders come over the span."""
        plan = self.world.plan
        for number in range(plan.orders):
            self.world.loop.call_later(0.1 + self.rng.random() * plan.span_s, self._place, number)

    def _ticket(self) -> OrderTicket:
        rng, draw = self.rng, self.rng.random()
        kind, tif = next((kind, tif) for share, kind, tif in _KINDS if draw < share)
        symbol = _SYMBOLS[0] if rng.random() < 0.6 else _SYMBOLS[1]
        quantity = STEP * rng.randint(30, 300)
        if rng.random() < 0.02:
            quantity = STEP if rng.random() < 0.5 else Decimal(500)  # too small for the venue, too large for the limit
        price = None
        if kind is OrderType.LIMIT:
            price = PRICES[symbol] + STEP * rng.randint(-200, 200)
        expires_at = None
        if kind is OrderType.LIMIT and tif is TimeInForce.GTC and rng.random() < self.world.plan.deadlines:
            expires_at = self.world.loop.utc() + timedelta(seconds=1 + rng.random() * 25)
        return quick(
            OrderTicket,
            symbol=symbol,
            side=OrderSide.BUY if rng.random() < 0.55 else OrderSide.SELL,
            order_type=kind,
            quantity=quantity,
            price=price,
            time_in_force=tif,
            expires_at=expires_at,
        )

    def _place(self, number: int) -> None:
        world, rng = self.world, self.rng
        accounts = list(world.venues)
        account = accounts[0] if len(accounts) == 1 else accounts[int(rng.random() * len(accounts))]
        request = quick(
            OrderRequest,
            order_id=order_id_from_bytes(rng.getrandbits(64).to_bytes(8, "big")),
            account=account,
            ticket=self._ticket(),
            requested_by="agent",
            requested_at=world.loop.utc(),
        )
        life = Life(number, request, world.venues[account])
        world.judge.add(life)
        start = quick(OrderInput, request=request)
        run = world.temporal.start_order(start)
        if rng.random() < world.plan.updates:
            self._place_by_update(run, request)
        self._change_mind(life)

    def _place_by_update(self, run: WorkflowRun, request: OrderRequest) -> None:
        message = PlaceOrder(request=request, wait_final=self.rng.random() < 0.5)
        self.world.loop.call_soon(self._update, run, "place", message, "_check_place")

    def _update(self, run: WorkflowRun, name: str, message: Any, validator: str) -> None:
        run.update(name, message, validator, lambda answer: self._answered(name, answer))

    def _answered(self, name: str, answer: Any) -> None:
        refused = isinstance(answer, ApplicationError)
        key = f"{name} {'refused' if refused else 'answered'}"
        self.answers[key] = self.answers.get(key, 0) + 1

    def _change_mind(self, life: Life) -> None:
        rng, plan, later = self.rng, self.world.plan, self.world.loop.call_later
        draw = rng.random()
        if draw < plan.cancels:
            way = draw / plan.cancels
            delay = rng.random() * (2 if rng.random() < 0.5 else 25)
            if way < 0.4:
                later(delay, self._signal_cancel, life)
            elif way < 0.8:
                later(delay, self._update_cancel, life)
            else:
                later(delay, self._cancel_workflow, life)
        if life.request.ticket.order_type is OrderType.LIMIT and rng.random() < plan.amends:
            for _ in range(rng.randint(1, 2)):
                later(rng.random() * 15, self._amend, life)

    def _run_of(self, life: Life) -> WorkflowRun:
        """Return the order's workflow; one that was terminated is adopted first, as the client does it."""
        request = life.request
        run = self.world.temporal.runs[order_workflow_id(request.account, request.order_id)]
        row = self.world.store.book(request.account).orders.get(request.order_id)
        if run.lost and row is not None and not row.order.is_final:
            self.world.adopt(row.order)
            run = self.world.temporal.runs[run.workflow_id]
        return run

    def _signal_cancel(self, life: Life) -> None:
        self._run_of(life).signal("cancel", _CANCEL)

    def _update_cancel(self, life: Life) -> None:
        self._update(self._run_of(life), "request_cancel", _CANCEL, "_check_cancel")

    def _cancel_workflow(self, life: Life) -> None:
        self._run_of(life).request_cancellation()

    def _amend(self, life: Life) -> None:
        rng, run = self.rng, self._run_of(life)
        quantity = STEP * rng.randint(30, 300) if rng.random() < 0.5 else None
        price = PRICES[life.request.ticket.symbol] + STEP * rng.randint(-200, 200) if rng.random() < 0.7 else None
        if quantity is None and price is None:
            return
        life.amended = True
        if quantity is not None:
            life.asked = max(life.asked, quantity)
        message = AmendOrder(quantity=quantity, price=price, requested_by="agent")
        self._update(run, "amend", message, "_check_amend")

    def give_up_all(self) -> None:
        """At the end what still rests at the venue is canceled by its agent; what ended there must end by itself."""
        for life in self.world.judge.lives.values():
            if any(placed.status is OPEN for placed in life.placed):
                self._signal_cancel(life)
        self.world.loop.call_later(GIVE_UP_EVERY_S, self.give_up_all)
