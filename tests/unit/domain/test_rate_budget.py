"""The fleet's budget: no window ever holds more than the whole, whatever its holders do."""

from hypothesis import given
from hypothesis import strategies as st

from domain.rate_budget import CALM_LEASE_MS, UNIT, Ask, Budget, Priority, Shared, settle

WEIGHT = Budget(name="weight", limit=1200 * UNIT, window_ms=60_000)
ORDERS = Budget(name="orders-10s", limit=100 * UNIT, window_ms=10_000, only_orders=True)


def ask(budget: Budget = ORDERS, **fields: object) -> Ask:
    return Ask.model_validate({"budget": budget, "spent": 0, "priority": Priority.SUBMIT, **fields})


def test_one_holder_gets_the_whole_of_a_budget_of_orders() -> None:
    _, lease = settle(Shared(), ask(wants=500 * UNIT, least=UNIT), holder="a", now_ms=0)
    assert lease.amount == 100 * UNIT


def test_what_was_spent_counts_for_a_window_from_the_telling() -> None:
    shared, _ = settle(Shared(), ask(wants=100 * UNIT), holder="a", now_ms=0)
    shared, lease = settle(shared, ask(spent=100 * UNIT, wants=50 * UNIT, least=UNIT), holder="a", now_ms=500)
    assert (lease.amount, lease.room_in_ms) == (0, 10_000)
    _, lease = settle(shared, ask(wants=50 * UNIT, least=UNIT), holder="a", now_ms=10_499)
    assert lease.amount == 0
    _, lease = settle(shared, ask(wants=50 * UNIT, least=UNIT), holder="a", now_ms=10_500)
    assert lease.amount == 50 * UNIT


def test_a_steady_trickle_leaves_the_window_as_it_came() -> None:
    """For ten minutes less is spent than the window allows: all of it is given, and none is kept for ever."""
    shared = Shared()
    for second in range(600):
        spends = ask(WEIGHT, spent=8 * UNIT, wants=60 * UNIT, least=UNIT, priority=Priority.READ)
        shared, lease = settle(shared, spends, holder="a", now_ms=1000 * second)
        assert lease.amount == 60 * UNIT, second
        assert shared.counting(1000 * second) <= (480 + 60 + 8 * 4) * UNIT, "a window's, the lease, a step of the clock"
    assert len(shared.spent) <= 21


def test_each_priority_leaves_a_part_to_the_more_urgent() -> None:
    got = []
    shared = Shared()
    for holder, priority in (("reader", Priority.READ), ("sender", Priority.SUBMIT), ("canceler", Priority.CANCEL)):
        wish = ask(WEIGHT, wants=1200 * UNIT, least=UNIT, priority=priority)
        shared, lease = settle(shared, wish, holder=holder, now_ms=10_000 * len(got))
        got.append(lease.amount // UNIT)
    assert got == [900, 180, 120]


def test_two_who_wait_share_what_becomes_free() -> None:
    shared, _ = settle(Shared(), ask(wants=100 * UNIT), holder="a", now_ms=0)
    shared, lease = settle(shared, ask(wants=80 * UNIT, least=UNIT), holder="b", now_ms=100)
    assert lease.amount == 0
    shared, _ = settle(shared, ask(spent=100 * UNIT, wants=80 * UNIT, least=UNIT), holder="a", now_ms=200)
    shared, _ = settle(shared, ask(wants=80 * UNIT, least=UNIT), holder="b", now_ms=9_900)
    _, lease = settle(shared, ask(wants=80 * UNIT, least=UNIT), holder="a", now_ms=10_200)
    assert lease.amount == 50 * UNIT


def test_lease_of_one_who_vanished_counts_as_spent_and_then_is_free() -> None:
    shared, lease = settle(Shared(), ask(wants=100 * UNIT), holder="dead", now_ms=0)
    assert lease.lapses_in_ms == 10_000
    for now_ms, expected in ((9_999, 0), (10_000, 0), (19_999, 0), (20_000, 100 * UNIT)):
        _, lease = settle(shared, ask(wants=100 * UNIT, least=UNIT), holder="alive", now_ms=now_ms)
        assert lease.amount == expected, now_ms


def test_calm_lease_lasts() -> None:
    _, lease = settle(Shared(), ask(wants=ORDERS.calm), holder="a", now_ms=0)
    assert (lease.amount, lease.lapses_in_ms) == (5 * UNIT, CALM_LEASE_MS)


def test_venues_own_count_leaves_less_when_strangers_spend() -> None:
    wish = ask(WEIGHT, wants=1200 * UNIT, least=UNIT, priority=Priority.CANCEL, venue_count=1000 * UNIT)
    shared, lease = settle(Shared(), wish, holder="a", now_ms=0)
    assert lease.amount == 200 * UNIT
    # Told again, it is known already.
    _, lease = settle(shared, wish.model_copy(update={"venue_count": 1000 * UNIT}), holder="a", now_ms=100)
    assert lease.amount == 200 * UNIT


def test_request_heavier_than_the_whole_gets_all_there_is() -> None:
    small = Budget(name="weight", limit=10 * UNIT, window_ms=1000)
    wish = ask(small, wants=10 * UNIT, least=40 * UNIT, priority=Priority.CANCEL)
    _, lease = settle(Shared(), wish, holder="a", now_ms=0)
    assert lease.amount == 10 * UNIT


_STEP = st.tuples(
    st.integers(0, 3_000),
    st.sampled_from("abc"),
    st.integers(0, 12),
    st.integers(0, 12),
    st.sampled_from(Priority),
    st.booleans(),
)


@given(st.lists(_STEP, max_size=60))
def test_no_window_holds_more_than_the_whole(steps: list[tuple[int, str, int, int, Priority, bool]]) -> None:
    """Holders spend at any time what they may, tell it or not, wish for anything, and vanish without a word."""
    budget = Budget(name="weight", limit=10 * UNIT, window_ms=2_000)
    shared, now_ms = Shared(), 0
    purse: dict[str, tuple[int, int]] = {}
    untold: dict[str, int] = {}
    spendings: list[tuple[int, int]] = []
    for passed, holder, spends, wants, priority, tells in steps:
        now_ms += passed
        amount, lapses_at = purse.get(holder, (0, 0))
        if now_ms < lapses_at:
            spent = min(spends * UNIT, amount)
            spendings.append((now_ms, spent))
            untold[holder] = untold.get(holder, 0) + spent
            purse[holder] = (amount - spent, lapses_at)
        if tells:
            wish = Ask(
                budget=budget,
                spent=untold.pop(holder, 0),
                wants=wants * UNIT,
                least=UNIT,
                priority=priority,
            )
            shared, lease = settle(shared, wish, holder=holder, now_ms=now_ms)
            purse[holder] = (lease.amount, now_ms + lease.lapses_in_ms)
        window = sum(spent for at, spent in spendings if at > now_ms - budget.window_ms)
        assert window <= budget.limit
        assert len(shared.spent) <= 45
