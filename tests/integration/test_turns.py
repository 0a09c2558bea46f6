"""What the line is told of what is really drawn: real costs, and how far a running job has come."""

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from bot.studio.actors import Actor
from bot.studio.asking import Ask
from generation.work.checkpoints import PATTERN
from generation.work.jobs import Job, JobState
from generation.work.prices import price_key
from generation.work.tickets import Ticket
from tests.integration.conftest import World, open_world

STEP_S = 0.2


@pytest.fixture(autouse=True)
def slow_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = dataclasses.replace(PATTERN, source=f"pattern:{STEP_S}")
    monkeypatch.setattr("bot.models.PATTERN", slow)


def small_ticket(job_id: int, member_id: int, guild_id: int) -> Ticket:
    return Ticket(
        job_id=job_id,
        member_id=member_id,
        guild_id=guild_id,
        cost_s=STEP_S,
        alike="pattern",
        model="pattern",
        num_images=1,
    )


async def asked(world: World, member: Any, text: str) -> Job:
    """Ask without waiting for what is shown of it."""
    studio, actor = world.app.studio, Actor(member_id=member.id, guild_id=world.guild.id)
    ask = Ask(text=text, channel_id=world.channel.id, num_images=1)
    (job,) = (await studio.submit(actor, ask)).jobs
    await studio.line_up([job])
    return job


async def test_a_member_pays_for_what_drawing_really_took_not_for_its_estimate(
    tmp_path: Path,
) -> None:
    async with open_world(tmp_path) as world:
        await world.consent(world.alice)
        first = await world.imagine(world.alice, "a fox", images=1)
        await world.app.store.costs.save(price_key(first.request), 1e-6)
        cheap = await world.imagine(world.alice, "a fox", images=1)
        assert cheap.cost_s < 1e-3
        queue = world.app.client.studio.dispatcher.queue
        queue.push(small_ticket(9001, world.alice.id, world.guild.id))
        for job_id in (9002, 9003):
            queue.push(small_ticket(job_id, world.bob.id, world.guild.id))
        assert [ticket.job_id for ticket in queue.in_order()] == [9002, 9003, 9001]


async def test_a_wait_shrinks_while_the_job_ahead_is_drawn(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await world.consent(world.alice, world.bob)
        await world.imagine(world.alice, "a fox", images=1)  # from here on a price is known
        drawn = await asked(world, world.alice, "a fox --q 2")
        waiting = await asked(world, world.bob, "an owl --ar 2:1")
        told_s = set()
        while not (await world.app.store.images.of_job(drawn.id)):
            told_s.add((await world.app.client.studio.dispatcher.estimate(waiting)).at_most_s)
            await asyncio.sleep(STEP_S / 4)
        assert len(told_s) >= 2
        await world.job_in(waiting.id, JobState.RENDERED, JobState.POSTED)
