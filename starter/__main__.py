"""`python -m starter`: place one order and print what came of it.

    python -m starter --side buy --amount 0.01 BTC/USDT
    python -m starter '{"symbol": "BTC/USDT", "side": "buy", "order_type": "limit", "quantity": "0.01", "price": "100"}'
    python -m starter @order.json

JSON holds an `OrderTicket`, with figures as text. Exit code 0: placed; 1: denied, rejected or failed; 2: not readable.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from domain.errors import ExecutionError
from domain.lifecycle import OrderStatus
from domain.order import OrderTicket
from settings import Settings, load_settings
from starter.client import ExecutionClient


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m starter", description="Place one order and print what came of it, as JSON.", allow_abbrev=False
    )
    parser.add_argument("order", help="a symbol such as BTC/USDT with the flags below, a ticket as JSON, or @FILE")
    parser.add_argument("--side", choices=["buy", "sell"])
    parser.add_argument("--type", dest="order_type", choices=["market", "limit", "stop", "stop-limit"])
    parser.add_argument("--amount", dest="quantity", help="base units")
    parser.add_argument("--price", help="quote units per base unit")
    parser.add_argument("--stop-price", dest="trigger_price", help="quote units per base unit")
    parser.add_argument("--time-in-force", choices=["GTC", "IOC", "FOK"])
    parser.add_argument("--post-only", action="store_true", default=None)
    parser.add_argument("--account", help="the default account if left out")
    parser.add_argument("--key", dest="idempotency_key", help="the same key and ticket are the same order, for ever")
    parser.add_argument("--wait", choices=["venue", "final"], default="venue", help="for its answer, or for the end")
    parser.add_argument("--timeout-s", type=float, default=30.0)
    return parser.parse_args(argv)


_FLAGS = ("side", "order_type", "quantity", "price", "trigger_price", "time_in_force", "post_only")


def ticket_of(arguments: argparse.Namespace) -> OrderTicket:
    """Make the ticket from JSON, a file or flags; flags win over what the JSON says.

    Raises
    ------
    ValueError, OSError
        When it is not readable, or not by the grammar.
    """
    text: str = arguments.order
    if text.startswith("@"):
        text = Path(text[1:]).read_text("utf-8")
    # A float has lost digits already; its text has not.
    fields = json.loads(text, parse_float=str, parse_int=str) if text.lstrip().startswith("{") else {"symbol": text}
    given = {name: getattr(arguments, name) for name in _FLAGS if getattr(arguments, name) is not None}
    fields = {**fields, **given}
    fields.setdefault("order_type", "limit" if "price" in fields else "market")
    return OrderTicket.model_validate_json(json.dumps(fields))


async def _place(ticket: OrderTicket, arguments: argparse.Namespace, settings: Settings) -> int:
    client = await ExecutionClient.from_settings(settings)
    view = await client.place_order(
        ticket,
        account=arguments.account or settings.default_exchange,
        idempotency_key=arguments.idempotency_key,
        wait=arguments.wait,
        timeout_s=arguments.timeout_s,
        requested_by="starter",
    )
    print(view.model_dump_json(indent=2))
    failed = view.order is not None and view.order.status in (OrderStatus.DENIED, OrderStatus.REJECTED)
    return 1 if failed else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run it and return the exit code."""
    arguments = _arguments(sys.argv[1:] if argv is None else argv)
    try:
        ticket = ticket_of(arguments)
    except (OSError, ValidationError, ValueError) as error:
        print(f"the order is not readable: {error}", file=sys.stderr)
        return 2
    try:
        return asyncio.run(_place(ticket, arguments, load_settings()))
    except ExecutionError as error:
        print(f"{error.code}: {error.message} {error.what_to_do}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the SDK's native threads can crash a process that ends in the ordinary way
