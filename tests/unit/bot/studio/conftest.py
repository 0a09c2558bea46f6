"""The studio without Discord: a real record, the real line and the real worker's supervisor."""

import asyncio
import contextlib
import dataclasses
import datetime as dt
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.studio.actors import Actor
from bot.studio.asking import Ask
from bot.studio.dispatch import Dispatcher
from bot.studio.gate import Gate
from bot.studio.studio import Studio
from generation.engine.supervisor import Supervisor
from generation.work.checkpoints import PATTERN
from generation.work.jobs import Image, Job, JobState
from generation.work.outside import just_wait
from generation.work.results import StepDone
from generation.work.tickets import Wait
from storage.consent import Scope
from storage.jobs import NewImage
from storage.store import Store

GUILD, CHANNEL, MOD = 21, 31, 19
ALICE = Actor(member_id=11, guild_id=GUILD, channel_id=CHANNEL)
BOB = Actor(member_id=12, guild_id=GUILD, channel_id=CHANNEL)
MODERATOR = Actor(member_id=MOD, guild_id=GUILD, channel_id=CHANNEL, is_moderator=True)
CLOSED = "closed"  # a checkpoint like the pattern that takes no uploads
SLOW = "slow"  # one that takes a while a step
BROKEN = "broken"  # one whose files are not there
STEP_S = 0.15
WAIT_S = 30.0
CHECKPOINTS = {
    "pattern": PATTERN,
    CLOSED: dataclasses.replace(PATTERN, name=CLOSED),
    SLOW: dataclasses.replace(PATTERN, name=SLOW, source=f"pattern:{STEP_S}"),
    BROKEN: dataclasses.replace(PATTERN, name=BROKEN, family="slots", source="/nowhere"),
}


@dataclasses.dataclass
class Seen:
    """What the screen was told."""

    steps: list[StepDone] = dataclasses.field(default_factory=list)
    places: dict[int, Wait] = dataclasses.field(default_factory=dict)

    async def show_progress(self, job: Job, event: StepDone) -> None:
        self.steps.append(event)

    async def show_place(self, job: Job, wait: Wait) -> None:
        self.places[job.id] = wait


@dataclasses.dataclass
class House:
    """A studio and short ways to use it."""

    store: Store
    supervisor: Supervisor
    gate: Gate
    dispatcher: Dispatcher
    studio: Studio
    seen: Seen

    async def agree(self, *actors: Actor, remix: bool = True) -> None:
        for actor in actors:
            await self.studio.answer_consent(actor, {Scope.REMIX: remix, Scope.TRAINING: False}, 1)

    async def ask(self, actor: Actor, text: str = "a fox", **changes: Any) -> Job:
        ask = Ask(text=text, channel_id=CHANNEL, num_images=1, **changes)
        (job,) = (await self.studio.submit(actor, ask)).jobs
        return job

    async def draw(self, job: Job, png: bytes = b"drawn") -> tuple[Job, Image]:
        """Record a picture of a queued job, as if a worker had drawn it."""
        now = dt.datetime.now(dt.UTC)
        lease = now + dt.timedelta(minutes=1)
        await self.store.attempts.begin(job.id, worker="bot", lease_until=lease, now=now)
        sha256 = await self.store.files.write(png, owner=job.member_id, now=now)
        new = NewImage(index=0, seed=1, sha256=sha256, width=16, height=16)
        job, (image,) = await self.store.jobs.record_rendered(
            job.id, images=[new], fingerprint="{}", elapsed_s=1.0, now=now
        )
        return job, image

    async def state_of(self, job: Job) -> JobState:
        return (await self.store.jobs.get(job.id)).state

    async def line_up(self, *asked: tuple[Actor, str]) -> list[Job]:
        """Ask for jobs and put them in line."""
        jobs = [await self.ask(actor, text) for actor, text in asked]
        await self.studio.line_up(jobs)
        return jobs

    async def until(self, job: Job, *states: JobState) -> Job:
        """Wait until a job is in one of the states."""
        deadline_s = time.monotonic() + WAIT_S
        while time.monotonic() < deadline_s:
            fresh = await self.store.jobs.get(job.id)
            if fresh.state in states:
                return fresh
            await asyncio.sleep(0.01)
        raise AssertionError(f"job {job.id} is {fresh.state}, never {states}")

    async def until_step(self, job: Job) -> None:
        """Wait until a job has taken a step."""
        deadline_s = time.monotonic() + WAIT_S
        while all(event.job_id != job.id for event in self.seen.steps):
            assert time.monotonic() < deadline_s, f"job {job.id} took no step"
            await asyncio.sleep(0.01)

    @contextlib.asynccontextmanager
    async def drawing(self) -> AsyncIterator[None]:
        """Run the dispatcher, and stop it as an orderly stop of the bot does."""
        running = asyncio.create_task(self.dispatcher.run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await self.dispatcher.close()


@contextlib.asynccontextmanager
async def open_house(folder: Path, *, device: str = "cpu") -> AsyncIterator[House]:
    """Open a studio on a record; another one may follow it there."""
    store = await Store.open(folder)
    supervisor = Supervisor(checkpoints=CHECKPOINTS, device=device, threads=1)
    gate, seen = Gate(store, set(CHECKPOINTS) - {CLOSED}), Seen()
    dispatcher = Dispatcher(store, supervisor, CHECKPOINTS, seen, gate, just_wait)
    studio = Studio(
        store,
        gate,
        dispatcher,
        checkpoints=CHECKPOINTS,
        default_model="pattern",
        jobs_waiting_per_server=50,
    )
    try:
        yield House(store, supervisor, gate, dispatcher, studio, seen)
    finally:
        await dispatcher.close()
        await supervisor.stop()
        await store.close()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path / "data") as house:
        yield house
