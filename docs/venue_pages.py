"""The page on venues, written from their tables in `exchanges/venues`."""

from collections.abc import Collection, Iterator

from domain.order import OrderSide, OrderType
from domain.unsent import REFUSED_UNSENT
from exchanges.venue_rules import GENERIC, listed_venues, placement, venue_rules
from exchanges.venues.table import CONDITIONS, VenueRules

_INTRODUCTION = """\
What each venue takes, from the tables in `exchanges/venues`, for orders that really go there. On paper market and limit
orders are open everywhere; stops and conditions are held and refused as the venue would have it. What ccxt really sends
for each order was captured and reviewed: the requests stand in `tests/wire/snapshots`, and a test compares them. Before
a request leaves, it is read once more: without our client order id, its figures, its trigger or its flag, nothing is
sent.

- *native*: the venue has it, and ccxt carries it there as it is meant.
- *held*: we wait for the trigger price and send the market or limit order that the stop stands for.
- *refused*: neither the venue nor we can work it as it is meant; nothing is sent.

Any other ccxt id is open for paper. In sandbox and live it needs `allow_generic = true` of the account; then it takes
market and limit orders, no answer of the venue proves a refusal, and an order in doubt waits for a person.
"""


def venues_page(note: str) -> str:
    """Write the page."""
    lines = ["# Venues", "", note, "", *_INTRODUCTION.splitlines(), ""]
    lines += ["## Order types", "", *_order_types(), "", "## Client order ids", "", *_client_ids(), ""]
    lines += ["## Refused before it leaves", "", *_unsent(), ""]
    lines += ["## Look-ups, time fence, sandbox", "", *_look_ups(), "", *_sections()]
    return "\n".join(lines) + "\n"


def _named() -> Iterator[tuple[str, VenueRules]]:
    for name in listed_venues():
        yield name, venue_rules(name)


def _order_types() -> Iterator[str]:
    yield "| venue | ccxt id | " + " | ".join([*OrderType, *CONDITIONS]) + " |"
    yield "|---" * (2 + len(OrderType) + len(CONDITIONS)) + "|"
    for name, rules in (*_named(), ("…", GENERIC)):
        cells = [_placed(name, order_type) for order_type in OrderType]
        cells += ["native" if word in rules.shapes else "refused" for word in CONDITIONS]
        yield f"| {rules.title} | `{name}` | {' | '.join(cells)} |"


def _placed(name: str, order_type: OrderType) -> str:
    """Say where both sides of an order type are worked."""
    buy, sell = (placement(name, order_type, side) for side in (OrderSide.BUY, OrderSide.SELL))
    return str(sell) if buy is sell else f"sell: {sell}, buy: {buy}"


def _client_ids() -> Iterator[str]:
    yield "| venue | takes | the same id again is refused among | precision |"
    yield "|---|---|---|---|"
    for _, rules in _named():
        yield f"| {rules.title} | {rules.client_ids.says} | {rules.client_ids.unique} | {rules.precision} |"


def _unsent() -> Iterator[str]:
    yield "The codes of the last check. Nothing was sent: the order shows as rejected, and says so in its story."
    yield ""
    yield "| code | meaning |"
    yield "|---|---|"
    for code, meaning in REFUSED_UNSENT.items():
        yield f"| `{code}` | {meaning} |"


def _look_ups() -> Iterator[str]:
    yield "| venue | asked by our id | else searched in | canceled by our id | time fence | sandbox |"
    yield "|---|---|---|---|---|---|"
    for _, rules in _named():
        asked = "yes" if rules.lookup_key else "no"
        canceled = "yes" if rules.cancel_key or rules.client_ids.prefix else "no: looked up first"
        lists = ", ".join(f"`{name}`" for name in rules.lists)
        lists += f" (blind: {rules.blind_spot})" if rules.blind_spot else ""
        fence = f"{rules.time_fence_s} s" if rules.time_fence_s else "none: a person decides"
        sandbox = f"yes: {rules.sandbox_note}" if rules.has_sandbox else f"no: {rules.sandbox_note}"
        yield f"| {rules.title} | {asked} | {lists} | {canceled} | {fence} | {sandbox} |"


def _sections() -> Iterator[str]:
    for name, rules in _named():
        yield f"## {rules.title}"
        yield ""
        for word, why in rules.notes.items():
            where = str(placement(name, OrderType(word))) if word in list(OrderType) else "refused"
            yield f"- {word}: {where}, because {why}."
        if not rules.market_buys_by_quantity:
            yield "- market buy: refused, because it names what is spent, not the quantity."
        if rules.market_types_key:
            yield "- What a symbol does not list in `" + rules.market_types_key + "` is refused for it; a stop is held."
        if rules.refusals:
            yield f"- Proof of a refusal: {_codes(rules.refusals)}."
        else:
            yield "- Proof of a refusal: none is known; an order that the venue refuses is in doubt, for a person."
        if rules.turned_away:
            yield f"- Turned away unread, and sent again after a pause: {_codes(rules.turned_away)}."
        if rules.not_found:
            yield f"- Says that there is no such order: {_codes(rules.not_found)}."
        yield ""


def _codes(codes: Collection[str]) -> str:
    return ", ".join(f"`{word}`" for word in sorted(codes))
