"""A change of limits: what it becomes, and whether it tightens or loosens."""

from collections.abc import Mapping
from decimal import Decimal

import pytest

from domain.limit_changes import EVERY_ACCOUNT, Effect, changed, changes_between, effect_of_all
from domain.limits import Limits, LimitSet

TIGHTENS, LOOSENS, CHANGES = Effect.TIGHTENS, Effect.LOOSENS, Effect.CHANGES


@pytest.mark.parametrize(
    ("limit", "before", "after", "effect"),
    [
        ("max_order_notional", None, "5", TIGHTENS),
        ("max_order_notional", "5", "4.9", TIGHTENS),
        ("max_order_notional", "5", "5.1", LOOSENS),
        ("max_order_notional", "5", None, LOOSENS),
        ("max_orders_per_day", 5, 0, TIGHTENS),
        ("min_profit", "0", "10", TIGHTENS),
        ("cooldown_after_stop_s", 60, 30, LOOSENS),
        ("duplicate_window_s", None, 5, TIGHTENS),
        ("stop_out_window_s", 60, 30, LOOSENS),
        ("max_market_age_s", 10, 5, TIGHTENS),
        ("forbid_self_trade", None, True, TIGHTENS),
        ("forbid_self_trade", True, False, LOOSENS),
        ("allowed_symbols", None, ("BTC/USDT",), TIGHTENS),
        ("allowed_symbols", ("BTC/USDT",), ("BTC/USDT", "ETH/USDT"), LOOSENS),
        ("allowed_symbols", ("BTC/USDT",), ("ETH/USDT",), CHANGES),
        ("allowed_symbols", ("BTC/USDT",), (), LOOSENS),
        ("denied_symbols", None, ("BTC/USDT",), TIGHTENS),
        ("denied_symbols", ("BTC/USDT",), None, LOOSENS),
        ("shadow", None, ("max_order_notional",), LOOSENS),
        ("shadow", ("max_order_notional",), None, TIGHTENS),
        ("trading_hours", None, "mon-fri 08:00-17:30", TIGHTENS),
        ("trading_hours", "mon-fri 08:00-17:30", "sat 08:00-17:30", CHANGES),
        ("max_position_quantity", {"BTC/USDT": "2"}, {"BTC/USDT": "1"}, TIGHTENS),
        ("max_position_quantity", {"BTC/USDT": "2"}, {}, LOOSENS),
        ("max_position_quantity", {"BTC/USDT": "2"}, {"BTC/USDT": "1", "ETH/USDT": "1"}, TIGHTENS),
        ("max_position_quantity", {"BTC/USDT": "2"}, {"ETH/USDT": "1"}, CHANGES),
        ("approval_expires_s", 900, 60, CHANGES),
    ],
)
def test_effect_says_whether_more_or_less_may_be_traded(
    limit: str, before: object, after: object, effect: Effect
) -> None:
    old, new = (LimitSet(by_scope={"firm": Limits.model_validate({limit: value})}) for value in (before, after))
    (change,) = changes_between(old, new)
    assert (change.scope, change.limit, change.effect) == ("firm", limit, effect)


def test_one_loosened_limit_makes_a_change_loosening() -> None:
    before = LimitSet(accounts=Limits(max_order_notional="5", max_open_orders=5))
    after = LimitSet(accounts=Limits(max_order_notional="4", max_open_orders=6))
    changes = changes_between(before, after)
    assert effect_of_all(changes) is LOOSENS
    assert effect_of_all(changes[:1]) is TIGHTENS
    assert effect_of_all(()) is CHANGES


def test_change_keeps_what_it_does_not_name_and_null_takes_away() -> None:
    before = LimitSet(
        accounts=Limits(max_order_notional="100"),
        by_scope={"firm": Limits(max_open_orders=5, max_position_quantity={"BTC/USDT": "1", "ETH/USDT": "2"})},
    )
    after = changed(before, "firm", {"max_position_quantity": {"ETH/USDT": None, "SOL/USDT": "3"}})
    assert after.accounts == before.accounts
    firm = after.by_scope["firm"]
    assert firm.max_open_orders == 5
    assert firm.max_position_quantity == {"BTC/USDT": Decimal(1), "SOL/USDT": Decimal(3)}
    empty = changed(after, "firm", {"max_position_quantity": None, "max_open_orders": None})
    assert empty.by_scope == {}


@pytest.mark.parametrize("values", [{"max_order_notional": "7"}, {"max_order_notional": None}])
def test_own_limit_of_an_account_is_compared_with_what_held_for_it(values: Mapping[str, object]) -> None:
    start = changed(LimitSet(accounts=Limits(max_order_notional="100")), "account:a", {"max_order_notional": "9"})
    (change,) = changes_between(start, changed(start, "account:a", values))
    assert (change.before, change.after) == ("9", "7" if values["max_order_notional"] else "100")


def test_limits_of_every_account_are_changed_by_their_own_name() -> None:
    after = changed(LimitSet(), EVERY_ACCOUNT, {"max_order_notional": "7"})
    assert after.of("account:any").max_order_notional == 7
    assert after.of("firm").is_empty
