"""The stack that most cases share: starting one costs five seconds."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults.floor import Floor, open_floor


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_floor(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Floor]:
    """A stack with one worker, which its supervisor starts again."""
    async with open_floor(tmp_path_factory.mktemp("floor")) as floor:
        yield floor


@pytest_asyncio.fixture(loop_scope="session")
async def floor(shared_floor: Floor) -> AsyncIterator[Floor]:
    """The shared stack, held still and without faults before and after."""
    await shared_floor.calm()
    yield shared_floor
    await shared_floor.calm()
