"""Reads the parameters of a request as strictly as Binance does."""

import re
from decimal import Decimal

from simulator.listing import ASSET_PRECISION, LISTINGS, ORDER_TYPES
from simulator.orders import Ticket
from simulator.refusals import Refusal, illegal, missing, superfluous

DECIMAL = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
INTEGER = r"^[0-9]{1,20}$"
CLIENT_ID = r"^[\.A-Z\:/a-z0-9_-]{1,36}$"
PRICED = ("LIMIT", "LIMIT_MAKER", "STOP_LOSS_LIMIT")
TIMED = ("LIMIT", "STOP_LOSS_LIMIT")
STOPPED = ("STOP_LOSS", "STOP_LOSS_LIMIT")


def required(parameters: dict[str, str], name: str) -> str:
    """Return a parameter that must be there. Raises `Refusal`."""
    if not parameters.get(name):
        raise missing(name)
    return parameters[name]


def symbol_of(parameters: dict[str, str]) -> str:
    """Return the symbol. Raises `Refusal` for one that is not listed."""
    symbol = required(parameters, "symbol")
    if symbol not in LISTINGS:
        raise Refusal(-1121, "Invalid symbol.")
    return symbol


def integer(parameters: dict[str, str], name: str, default: int) -> int:
    """Return a whole number, 0 or more. Raises `Refusal`."""
    written = parameters.get(name)
    if not written:
        return default
    if not re.fullmatch(INTEGER, written, re.ASCII):
        raise illegal(name, INTEGER)
    return int(written)


def decimal(parameters: dict[str, str], name: str) -> Decimal:
    """Return an amount above zero with at most eight places. Raises `Refusal`; an exponent is refused too."""
    written = required(parameters, name)
    if not re.fullmatch(DECIMAL, written, re.ASCII):
        raise illegal(name, DECIMAL)
    if len(written.partition(".")[2].rstrip("0")) > ASSET_PRECISION:
        raise Refusal(-1111, "Precision is over the maximum defined for this asset.")
    value = Decimal(written)
    if value == 0:
        raise Refusal(-1013, f"Invalid {name}.")
    return value


def client_id(parameters: dict[str, str], name: str, default: str) -> str:
    """Return a client's own id, or the default. Raises `Refusal`."""
    written = parameters.get(name) or default
    if not re.fullmatch(CLIENT_ID, written, re.ASCII):
        raise illegal(name, CLIENT_ID)
    return written


def ticket_of(parameters: dict[str, str], default_client_id: str) -> Ticket:
    """Read a new order. Raises `Refusal` for what is missing, superfluous or badly written."""
    symbol, side, kind = symbol_of(parameters), required(parameters, "side"), required(parameters, "type")
    if side not in ("BUY", "SELL"):
        raise Refusal(-1117, "Invalid side.")
    if kind not in ORDER_TYPES:
        raise Refusal(-1116, "Invalid orderType.")
    by_quote = kind == "MARKET" and "quoteOrderQty" in parameters
    taken = {"price": kind in PRICED, "stopPrice": kind in STOPPED, "timeInForce": kind in TIMED}
    taken |= {"quantity": not by_quote, "quoteOrderQty": by_quote}
    for name, is_taken in taken.items():
        if name in parameters and not is_taken:
            raise superfluous(name)
    time_in_force = required(parameters, "timeInForce") if kind in TIMED else "GTC"
    if time_in_force not in ("GTC", "IOC", "FOK"):
        raise Refusal(-1115, "Invalid timeInForce.")
    return Ticket(
        symbol=symbol,
        side=side,
        type=kind,
        quantity=Decimal(0) if by_quote else decimal(parameters, "quantity"),
        client_order_id=client_id(parameters, "newClientOrderId", default_client_id),
        price=decimal(parameters, "price") if kind in PRICED else Decimal(0),
        stop_price=decimal(parameters, "stopPrice") if kind in STOPPED else Decimal(0),
        time_in_force=time_in_force,
        quote_quantity=decimal(parameters, "quoteOrderQty") if by_quote else Decimal(0),
    )
