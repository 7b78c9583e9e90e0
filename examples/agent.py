"""An agent in one page: it buys a little at a time, and never twice, however often it is started or interrupted.

    volex up                                        # in one terminal; it prints Temporal's address
    TEMPORAL_ADDRESS=127.0.0.1:7233 python examples/agent.py --amount 0.001 --times 3

Each purchase has a key of its own, made from the plan's name and its number. Killed in the middle and started again,
the agent asks for the same orders under the same keys and is answered with what became of them; only new ones are
placed.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator
from decimal import Decimal

from domain.errors import ExecutionError
from domain.numbers import parse_amount, plain
from domain.order import Order, OrderSide, OrderTicket, OrderType
from settings import load_settings
from starter.client import ExecutionClient


async def purchases(client: ExecutionClient, plan: argparse.Namespace) -> AsyncIterator[Order]:
    """Place the plan's orders, one after the other, and yield each as it ended."""
    for number in range(1, plan.times + 1):
        ticket = OrderTicket(
            symbol=plan.symbol,
            side=OrderSide.BUY,
            order_type=OrderType.MARKET,
            quantity=plan.amount,
            strategy=plan.name,
            client_reference=f"purchase {number}",
        )
        view = await client.place_order(
            ticket, account=plan.account, idempotency_key=f"{plan.name}-{number}", wait="final", requested_by="agent"
        )
        # The answer may have come before the end, for the wait is bounded. The order goes on meanwhile.
        if view.order is None or not view.order.is_final:
            view = await client.wait_order(view.order_id, account=plan.account, timeout_s=300)
        if view.order is not None:
            yield view.order


async def run(plan: argparse.Namespace) -> None:
    """Carry the plan out and say what was bought."""
    client = await ExecutionClient.from_settings(load_settings())
    quantity, cost = Decimal(0), Decimal(0)
    async for order in purchases(client, plan):
        quantity, cost = quantity + order.cum_qty, cost + order.cum_quote_qty
        why = f"  ({order.reason})" if order.reason is not None else ""
        print(f"{order.order_id}  {order.ticket.summary()}  {order.status}{why}")
    if quantity:
        print(f"bought {plain(quantity)} {plan.symbol} for {plain(cost)}, {cost / quantity:.2f} each")


def _plan() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Buy a little at a time, never twice.")
    parser.add_argument("--name", default="first-plan", help="the plan's name: another name is another plan")
    parser.add_argument("--account", default=None)
    parser.add_argument("--symbol", default="BTC/USDT")
    parser.add_argument("--amount", type=parse_amount, default=Decimal("0.001"), help="base units of each order")
    parser.add_argument("--times", type=int, default=3)
    plan = parser.parse_args()
    plan.account = plan.account or load_settings().default_exchange
    return plan


if __name__ == "__main__":
    code = 0
    try:
        asyncio.run(run(_plan()))
    except ExecutionError as error:
        print(f"{error.code}: {error.message} {error.what_to_do}", file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # Temporal's native threads can crash a process that ends in the ordinary way
