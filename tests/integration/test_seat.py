"""A bot on the same record as somebody at the terminal: each draws what is its own."""

import datetime as dt

from bot.grammar.prompts import parse, resolve
from bot.studio.seat import NOBODY, TERMINAL, seat
from generation.work.checkpoints import PATTERN
from generation.work.jobs import Job, JobState
from storage.asking import NewJob
from tests.integration.conftest import World


async def asked_at_the_terminal(world: World) -> Job:
    request = resolve(parse("a fox"), checkpoint=PATTERN, seed=1, num_images=1).request
    new = NewJob(member_id=NOBODY, place=TERMINAL, typed="a fox", request=request, cost_s=1.0)
    return await world.app.store.jobs.add(new, now=dt.datetime.now(dt.UTC))


async def test_a_bot_that_starts_leaves_alone_what_is_drawn_at_the_terminal(world: World) -> None:
    await world.consent(world.alice)
    job = await asked_at_the_terminal(world)
    with seat(world.settings.data_dir):
        await world.restart()
        await world.imagine(world.alice, "an owl")  # what came before it has had its turn
        assert (await world.app.store.jobs.get(job.id)).state is JobState.QUEUED


async def test_a_bot_that_starts_cancels_what_a_killed_terminal_left(world: World) -> None:
    job = await asked_at_the_terminal(world)
    await world.restart()
    left = await world.app.store.jobs.get(job.id)
    assert (left.state, left.attempts) == (JobState.CANCELLED, 0)
