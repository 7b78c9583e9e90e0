"""When a venue is asked for a sign of life: only when nobody has heard of it, and once at a time."""

import asyncio
from typing import Any

import pytest

from activities.sight_watch import SightWatch
from domain.observing import Sighting, VenueSeen

HEARD = VenueSeen(answer_age_s=3, measure_age_s=50)


class Venue:
    """Counts who asks for a sign of life, and answers when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()

    async def status(self) -> None:
        self.asked += 1
        await self.may_answer.wait()


class Told:
    """What was told; answers with what the fleet knows."""

    def __init__(self, known: VenueSeen) -> None:
        self.known = known
        self.sightings: list[tuple[str, Sighting, str]] = []

    async def tell(self, account: str, seen: Sighting, *, told_by: str) -> VenueSeen:
        self.sightings.append((account, seen, told_by))
        return self.known


def watch(told: Told, venue: Any) -> SightWatch:
    """Watch one account."""
    return SightWatch(told, exchanges={"a": venue}, seen=lambda _: Sighting(answered_ms_ago=7), identity="w")


async def test_venue_that_anybody_has_heard_of_lately_is_not_asked() -> None:
    venue, told = Venue(), Told(HEARD)
    await watch(told, venue).round()
    await asyncio.sleep(0)
    assert venue.asked == 0
    assert told.sightings == [("a", Sighting(answered_ms_ago=7), "w")]


@pytest.mark.parametrize(
    "known",
    [VenueSeen(), HEARD.model_copy(update={"answer_age_s": 16}), HEARD.model_copy(update={"measure_age_s": 61})],
)
async def test_quiet_venue_is_asked_once_at_a_time_and_what_came_of_it_is_told_at_once(known: VenueSeen) -> None:
    venue, told = Venue(), Told(known)
    watching = watch(told, venue)
    for _ in range(3):
        await watching.round()
        await asyncio.sleep(0)
    assert (venue.asked, len(told.sightings)) == (1, 3)
    venue.may_answer.set()
    await asyncio.gather(*watching.asking)
    assert len(told.sightings) == 4
    await watching.round()
    await asyncio.gather(*watching.asking)
    assert venue.asked == 2
