"""Reads the arguments of Kraken's calls."""

import re
from datetime import datetime
from decimal import Decimal

from simulator.kraken.names import Pair, pair_named
from simulator.kraken.words import invalid, said
from simulator.orders import Ticket

DECIMAL = r"[0-9]{1,20}(\.[0-9]{1,20})?"
CLIENT_ID = r"[\x21-\x7e]{1,18}|[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
KINDS = {"market": "MARKET", "limit": "LIMIT", "stop-loss": "STOP_LOSS", "stop-loss-limit": "STOP_LOSS_LIMIT"}
FLAGS = {"post", "fciq", "fcib", "nompp", "viqc"}
TIMES_IN_FORCE = ("GTC", "IOC", "GTD")
DEADLINE_MIN_S = 2
DEADLINE_MAX_S = 60
EXPIRY_MIN_S = 5


def required(arguments: dict[str, str], name: str) -> str:
    """Return an argument that must be there. Raises `Refusal`."""
    if not arguments.get(name):
        raise invalid(name)
    return arguments[name]


def number(arguments: dict[str, str], name: str, default: float) -> float:
    """Return a number of seconds or rows, 0 or more. Raises `Refusal`."""
    written = arguments.get(name)
    if not written:
        return default
    if not re.fullmatch(DECIMAL, written, re.ASCII):
        raise invalid(name)
    return float(written)


def is_true(arguments: dict[str, str], name: str) -> bool:
    """Tell whether a switch is on."""
    return arguments.get(name, "").lower() in ("true", "1")


def amount(arguments: dict[str, str], name: str) -> Decimal:
    """Return an amount above zero. Raises `Refusal`; an exponent or a relative price is refused too."""
    written = required(arguments, name)
    if not re.fullmatch(DECIMAL, written, re.ASCII) or Decimal(written) == 0:
        raise invalid(name)
    return Decimal(written)


def price(arguments: dict[str, str], name: str, pair: Pair) -> Decimal:
    """Return a price with no more places than the pair has. Raises `Refusal`."""
    value = amount(arguments, name)
    if value % pair.listing.tick:
        words = f"{pair.wsname} price can only be specified up to {pair.price_decimals} decimals."
        raise said(f"EOrder:Invalid price:{words}")
    return value


def client_id(arguments: dict[str, str]) -> str | None:
    """Return the client's own id. Raises `Refusal` unless it is a UUID or 18 characters at most."""
    written = arguments.get("cl_ord_id")
    if written and not re.fullmatch(CLIENT_ID, written, re.ASCII):
        raise invalid("cl_ord_id")
    return written or None


def user_reference(arguments: dict[str, str]) -> int:
    """Return the client's own number, 0 for none. Raises `Refusal`."""
    written = arguments.get("userref") or "0"
    if not re.fullmatch(r"-?[0-9]{1,10}", written, re.ASCII):
        raise invalid("userref")
    return int(written)


def deadline_ms(arguments: dict[str, str]) -> int | None:
    """Return the moment from which the order is not to be taken any more, in milliseconds. Raises `Refusal`."""
    written = arguments.get("deadline")
    if not written:
        return None
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        raise invalid("deadline") from None
    if moment.tzinfo is None:
        raise invalid("deadline")
    return int(moment.timestamp() * 1000)


def check_deadline(arguments: dict[str, str], now_ms: int, *, on_arrival: bool) -> None:
    """Check that the deadline, if there is one, has not passed; on arrival, that it may be asked for at all."""
    until_ms = deadline_ms(arguments)
    if until_ms is None:
        return
    if on_arrival and not DEADLINE_MIN_S * 1000 <= until_ms - now_ms <= DEADLINE_MAX_S * 1000:
        raise invalid("deadline")
    if until_ms <= now_ms:
        raise said("EService:Deadline elapsed")


def expiry_ms(arguments: dict[str, str], now_ms: int) -> int:
    """Return when the order ends by itself, 0 for never. Raises `Refusal`."""
    written = arguments.get("expiretm") or "0"
    if not re.fullmatch(r"\+?[0-9]{1,12}", written, re.ASCII):
        raise invalid("expiretm")
    at_ms = now_ms + int(written[1:]) * 1000 if written.startswith("+") else int(written) * 1000
    asked = arguments.get("timeinforce") == "GTD"
    if asked != (written != "0") or (asked and at_ms < now_ms + EXPIRY_MIN_S * 1000):
        raise invalid("expiretm")
    return at_ms if asked else 0


def ticket_of(arguments: dict[str, str], default_client_id: str, now_ms: int) -> Ticket:
    """Read a new order. Raises `Refusal` for what is missing, badly written or does not go together."""
    pair, side, kind = pair_named(required(arguments, "pair")), arguments.get("type"), arguments.get("ordertype", "")
    flags = set(filter(None, arguments.get("oflags", "").split(",")))
    time_in_force = arguments.get("timeinforce") or "GTC"
    wrong = {
        "type": side not in ("buy", "sell"),
        "ordertype": kind not in KINDS,
        "oflags": not flags <= FLAGS or ("post" in flags and kind != "limit"),
        "timeinforce": time_in_force not in TIMES_IN_FORCE or (time_in_force != "GTC" and "limit" not in kind),
        "viqc": "viqc" in flags and (kind, side) != ("market", "buy"),
        "cl_ord_id": bool(arguments.get("cl_ord_id") and arguments.get("userref")),
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise invalid(name)
    volume = amount(arguments, "volume")
    if "viqc" not in flags and volume % pair.listing.step:
        raise invalid("volume")
    stops, limits = kind.startswith("stop-loss"), kind.endswith("limit")
    limit_name = "price2" if stops else "price"
    return Ticket(
        symbol=pair.listing.symbol,
        side="BUY" if side == "buy" else "SELL",
        type="LIMIT_MAKER" if "post" in flags else KINDS[kind],
        quantity=Decimal(0) if "viqc" in flags else volume,
        client_order_id=client_id(arguments) or default_client_id,
        price=price(arguments, limit_name, pair) if limits else Decimal(0),
        stop_price=price(arguments, "price", pair) if stops else Decimal(0),
        time_in_force="IOC" if time_in_force == "IOC" else "GTC",
        quote_quantity=volume if "viqc" in flags else Decimal(0),
        expires_ms=expiry_ms(arguments, now_ms),
        user_reference=user_reference(arguments),
    )
