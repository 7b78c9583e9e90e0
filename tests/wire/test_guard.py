"""An order whose request does not say what was asked for does not leave: ccxt is made to lose things on the way."""

from decimal import Decimal
from typing import Any

import pytest

from domain.reports import SubmitOutcome, SubmitVerdict
from exchanges.ccxt_transport import NotSent
from exchanges.venue_rules import GENERIC, listed_venues, venue_rules
from exchanges.wire_guard import WireCheck, fields_of
from tests.wire.capture import Wire, wire_of
from tests.wire.cases import CLIENT_ORDER_ID, ORDERS, SYMBOL, submission

TAKING_ORDERS = [name for name in listed_venues() if venue_rules(name).takes_orders]
LOSSES = {
    "limit sell": ("client order id", "CLIENT_ORDER_ID_NOT_CARRIED"),
    "limit IOC sell": ("timeInForce", "ORDER_TYPE_NOT_CARRIED"),
    "limit FOK buy": ("timeInForce", "ORDER_TYPE_NOT_CARRIED"),
    "limit post-only sell": ("postOnly", "ORDER_TYPE_NOT_CARRIED"),
    "stop sell": ("trigger", "TRIGGER_NOT_CARRIED"),
    "stop-limit buy": ("trigger", "TRIGGER_NOT_CARRIED"),
}
"""What ccxt is made to lose from which order."""


def lose(wire: Wire, what: str) -> None:
    """Let ccxt's `create_order` not see one of its parameters, as when a version of it does not know it any more."""
    api, rules = wire.exchange._api, wire.exchange._rules
    lost = {"client order id": rules.create_key, "trigger": rules.trigger_key}.get(what, what)
    create_order = api.create_order

    def losing(symbol: str, kind: str, side: str, amount: str, price: str | None, params: dict[str, Any]) -> Any:
        return create_order(symbol, kind, side, amount, price, {key: params[key] for key in params if key != lost})

    api.create_order = losing


def refused_unsent(wire: Wire, outcome: SubmitOutcome) -> str:
    """Return the code of a refusal after which nothing has left."""
    assert (outcome.verdict, wire.requests) == (SubmitVerdict.REFUSED, [])
    assert outcome.reason is not None
    return outcome.reason.code


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("exchange", TAKING_ORDERS)
async def test_request_that_lost_something_does_not_leave(exchange: str, name: str) -> None:
    lost, code = LOSSES[name]
    async with wire_of(exchange) as wire:
        lose(wire, lost)
        outcome = await wire.order(**ORDERS[name])
        wire.requests = [made for made in wire.requests if made[0] != "GET"]
        supported = name.split()[-2] in venue_rules(exchange).shapes
        found = refused_unsent(wire, outcome)
        # A stop whose trigger is lost has the wrong type too; which of the two is met first does not matter.
        assert found in (
            {code, "ORDER_TYPE_NOT_CARRIED", "FIGURE_NOT_CARRIED"} if supported else {"ORDER_TYPE_NOT_SUPPORTED"}
        )


@pytest.mark.parametrize("exchange", ["binanceus", "kraken", "gemini"])
async def test_rounded_figure_does_not_leave(exchange: str) -> None:
    async with wire_of(exchange) as wire:
        api = wire.exchange._api
        api.amount_to_precision = lambda symbol, amount: "0.001" if api.rounds else str(amount)
        api.rounds = False
        create_order = api.create_order

        def rounding(*order: Any) -> Any:
            api.rounds = True  # after our own check of the rounding, which this one stands behind
            return create_order(*order)

        api.create_order = rounding
        assert refused_unsent(wire, await wire.order(**ORDERS["limit buy"])) == "FIGURE_NOT_CARRIED"


@pytest.mark.parametrize(
    "figures",
    [
        {"quantity": Decimal("0.001251234")},
        {"quantity": Decimal("0.000001")},
        {"price": Decimal("50000.255")},
        {"price": Decimal("0.001")},
    ],
)
async def test_figure_that_ccxt_would_round_is_refused_before_it_leaves(figures: dict[str, Any]) -> None:
    async with wire_of("binanceus") as wire:
        order = submission(**ORDERS["limit buy"]).model_copy(update=figures)
        outcome = await wire.exchange.submit(order, last_look=_yes)
        assert refused_unsent(wire, outcome) == "FIGURE_NOT_CARRIED"


async def _yes() -> bool:
    return True


async def test_order_type_that_the_symbol_lacks_is_refused_before_it_leaves() -> None:
    async with wire_of("binanceus") as wire:
        instrument = wire.exchange._client._instruments[SYMBOL]  # type: ignore[index]  # it is set
        wire.exchange._client._instruments = {SYMBOL: instrument.model_copy(update={"lacks": ("post-only", "stop")})}
        for name in ("stop sell", "limit post-only buy"):
            assert refused_unsent(wire, await wire.order(**ORDERS[name])) == "ORDER_TYPE_NOT_SUPPORTED"
        await wire.order(**ORDERS["stop-limit sell"])
        assert len(wire.requests) == 1


async def test_id_that_the_venue_does_not_take_is_refused_before_it_leaves() -> None:
    async with wire_of("kraken") as wire:
        order = submission("a" * 19, **ORDERS["limit buy"])
        outcome = await wire.exchange.submit(order, last_look=_yes)
        assert refused_unsent(wire, outcome) == "CLIENT_ORDER_ID_NOT_TAKEN"


# The reading of requests, and the guard of venues without a table.


@pytest.mark.parametrize(
    ("url", "headers", "body"),
    [
        ("https://venue.invalid/order?clientId=abc&qty=1.50", None, None),
        ("https://venue.invalid/order", {}, "clientId=abc&qty=1.50"),
        ("https://venue.invalid/order", {}, '[{"order": {"clientId": "abc", "qty": 1.50, "tags": [], "px": null}}]'),
        ("https://venue.invalid/order", {}, {"clientId": "abc", "qty": "1.50"}),
        ("https://venue.invalid/order", {"X-GEMINI-PAYLOAD": "eyJjbGllbnRJZCI6ImFiYyIsInF0eSI6IjEuNTAifQ=="}, None),
    ],
)
def test_fields_are_read_from_every_form_of_request(url: str, headers: dict[str, str] | None, body: object) -> None:
    fields = fields_of(url, headers, body)
    assert (fields["clientId"], fields["qty"]) == (["abc"], ["1.50"])
    assert not {"tags", "px"} & fields.keys()


GENERIC_ORDER = submission(**ORDERS["limit buy"])


def test_generic_request_with_id_and_figures_passes() -> None:
    body = f"id=x-{CLIENT_ORDER_ID}&amount=0.001250&price=50010.0"
    WireCheck(GENERIC_ORDER, GENERIC)("https://venue.invalid/order", {}, body)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("id=ccxt-1&amount=0.00125&price=50010", "CLIENT_ORDER_ID_NOT_CARRIED"),
        (f"id={CLIENT_ORDER_ID}&amount=0.001&price=50010", "FIGURE_NOT_CARRIED"),
        (f"id={CLIENT_ORDER_ID}&amount=0.00125", "FIGURE_NOT_CARRIED"),
        (f"id={CLIENT_ORDER_ID}&amount=125000&price=50010", "FIGURE_NOT_CARRIED"),
    ],
)
def test_generic_request_that_lost_something_does_not_pass(body: str, code: str) -> None:
    with pytest.raises(NotSent) as refusal:
        WireCheck(GENERIC_ORDER, GENERIC)("https://venue.invalid/order", {}, body)
    assert (refusal.value.code, refusal.value.refused) == (code, True)


@pytest.mark.parametrize("exchange", ["bitso", "bitvavo", "bingx", "lbank", "phemex", "poloniex", "whitebit", "woo"])
@pytest.mark.parametrize("name", ["limit buy", "market sell", "limit IOC buy", "stop-limit sell"])
async def test_what_leaves_for_a_venue_without_a_table_carries_our_id(exchange: str, name: str) -> None:
    async with wire_of(exchange) as wire:
        outcome = await wire.order(**ORDERS[name])
        left = [request for request in wire.requests if request[0] != "GET"]
        assert len(left) <= 1
        if name in ("limit IOC buy", "stop-limit sell"):
            assert refused_unsent(wire, outcome) == "ORDER_TYPE_NOT_SUPPORTED"
        for _, url, headers, body in left:
            values = [value for held in fields_of(url, headers, body).values() for value in held]
            assert any(CLIENT_ORDER_ID in value for value in values)
            assert any(value.lstrip("-").startswith("0.00125") for value in values)
