import asyncio

import pytest

from bot.chat.handling import Handling
from bot.studio.refusals import Refused


async def test_a_stop_waits_for_what_is_being_handled() -> None:
    handling = Handling()
    handling.begin(1)
    stopping = asyncio.create_task(handling.finish(5.0))
    await asyncio.sleep(0)
    assert not stopping.done()
    handling.end(1)
    assert await stopping


async def test_a_stop_waits_until_those_who_come_too_late_are_told() -> None:
    handling = Handling()
    handling.begin(1)
    stopping = asyncio.create_task(handling.finish(5.0))
    await asyncio.sleep(0)
    with pytest.raises(Refused, match="restarted"):
        handling.begin(2)
    handling.end(1)
    await asyncio.sleep(0)
    assert not stopping.done()
    handling.end(2)
    assert await stopping


async def test_a_stop_does_not_wait_for_ever() -> None:
    handling = Handling()
    handling.begin(1)
    assert not await handling.finish(0.01)
