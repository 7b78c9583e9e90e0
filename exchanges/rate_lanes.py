"""Who waits for a venue, in which order: three priorities, and within each the lanes in turn. Pure."""

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from domain.rate_budget import Priority


@dataclass(slots=True, eq=False)
class Waiter:
    """One request that waits: what it takes of each budget by name, and who hears when it may leave."""

    costs: Mapping[str, int]
    priority: Priority
    lane: str
    heard: "asyncio.Future[None]"


@dataclass(slots=True)
class Lanes:
    """The waiting requests. A lane is a strategy: the burst of one does not keep another from its turn."""

    _lanes: dict[Priority, dict[str, deque[Waiter]]] = field(default_factory=lambda: {p: {} for p in Priority})

    def __len__(self) -> int:
        return sum(self.waiting(priority) for priority in Priority)

    def __iter__(self) -> Iterator[Waiter]:
        for priority in Priority:
            for lane in self._lanes[priority].values():
                yield from lane

    def waiting(self, priority: Priority) -> int:
        """Return how many wait with this priority."""
        return sum(len(lane) for lane in self._lanes[priority].values())

    def waiting_in(self, priority: Priority, lane: str) -> int:
        """Return how many of them wait in one lane."""
        return len(self._lanes[priority].get(lane, ()))

    def add(self, waiter: Waiter) -> None:
        """Let it wait behind those of its lane."""
        self._lanes[waiter.priority].setdefault(waiter.lane, deque()).append(waiter)

    def heads(self, priority: Priority) -> list[Waiter]:
        """Return the first of each lane, in the order of their turns."""
        return [lane[0] for lane in self._lanes[priority].values()]

    def remove(self, waiter: Waiter) -> None:
        """Take it out; its lane goes to the end of the turns. One that has gone already is no error."""
        lanes = self._lanes[waiter.priority]
        lane = lanes.get(waiter.lane)
        if lane is None or waiter not in lane:
            return
        lane.remove(waiter)
        del lanes[waiter.lane]
        if lane:
            lanes[waiter.lane] = lane
