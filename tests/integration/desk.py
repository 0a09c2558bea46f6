"""The loop that writes messages, on a real record and a real client, in one process.

No worker draws and no gateway tells: a test changes the record and looks at what Discord got.
"""

import asyncio
import contextlib
import datetime as dt
import io
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import discord
from PIL import Image as Pillow

from bot.chat.delivery import Delivery
from bot.studio.drawing import now
from generation.work.jobs import Image, Job, JobState, Place
from generation.work.requests.imagine import Imagine, WeightedPrompt
from generation.work.tickets import Wait
from storage.asking import NewJob
from storage.jobs import NewImage
from storage.outbox import Message
from storage.store import Store
from tests.integration.discord_objects import CHANNEL, GUILD
from tests.integration.discord_server import DiscordServer

TOKEN = "bot-token-of-the-desk"  # noqa: S105
ALICE, BOB, MODERATOR = 7, 8, 9
PAUSES_S = (0.05, 0.1)
WAIT_S = 10.0
SIDE_PX = 16
BY = {"guild_id": GUILD, "moderator_id": MODERATOR, "reason": "rules"}


class Wire(DiscordServer):
    """A Discord that hands its events to the test instead of a gateway."""

    def __init__(self, token: str) -> None:
        super().__init__(token)
        self.events: list[Mapping[str, Any]] = []

    async def _dispatch(self, name: str, content: Mapping[str, Any]) -> None:
        assert name == "INTERACTION_CREATE"
        self.events.append(content)


class Desk:
    """A record, a Discord, and whichever life of the loop lives with them now."""

    def __init__(self, wire: Wire, client: discord.Client, store: Store) -> None:
        self.discord = wire
        self.client = client
        self.store = store
        self.age_s = 0.0  # what the loop's clock is ahead
        self._loop: asyncio.Task[None] | None = None
        self.start()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, directory: Path) -> AsyncIterator["Desk"]:
        """Log in, and show what is due until the context ends."""
        async with Wire.open(TOKEN) as wire, contextlib.AsyncExitStack() as stack:
            base = discord.http.Route.BASE
            stack.callback(setattr, discord.http.Route, "BASE", base)
            discord.http.Route.BASE = f"http://{wire.address}/api"
            mentions = discord.AllowedMentions.none()
            client = discord.Client(
                intents=discord.Intents(guilds=True), allowed_mentions=mentions, max_messages=None
            )
            await client.login(TOKEN)
            stack.push_async_callback(client.close)
            store = await Store.open(directory)
            stack.push_async_callback(store.close)
            desk = cls(wire, client, store)
            stack.push_async_callback(desk.stop)
            yield desk
            await desk.stop()
            assert wire.violations == []

    # The loop

    def start(self) -> None:
        """Begin a new life of the loop."""
        self.delivery = Delivery(
            self.store,
            self.client,
            estimate=_estimate,
            progress_interval_s=0.0,
            progress_budget=100,
            retry_after_s=PAUSES_S,
            clock=lambda: time.monotonic() + self.age_s,
        )
        self._loop = asyncio.create_task(self.delivery.run())

    async def stop(self) -> None:
        """End the loop in the middle of whatever it does."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
            self._loop = None

    async def restart(self) -> None:
        """End the loop's life and begin another."""
        await self.stop()
        self.start()

    # The record

    async def queued(
        self, *, channel_id: int = CHANNEL, age_s: float = 60.0, member_id: int = ALICE
    ) -> Job:
        """Record a job; by default it was asked for long ago and no command answers it."""
        new = NewJob(
            member_id=member_id,
            place=Place(guild_id=GUILD, channel_id=channel_id),
            typed="a fox",
            request=Imagine(
                prompts=(WeightedPrompt("a fox"),),
                model="pattern",
                seed=1,
                width=SIDE_PX,
                height=SIDE_PX,
                num_inference_steps=4,
                guidance_scale=1.0,
            ),
            cost_s=1.0,
        )
        return await self.store.jobs.add(new, now=now() - dt.timedelta(seconds=age_s))

    async def running(self, job: Job | None = None, **changes: Any) -> Job:
        """Begin a job, or a new one that stands in its channel."""
        if job is None:
            job = await self.queued(**changes)
            await self.shown(job)
        lease = now() + dt.timedelta(hours=1)
        return await self.store.attempts.begin(job.id, worker="bot", lease_until=lease, now=now())

    async def rendered(
        self, job: Job | None = None, *, side_px: int = SIDE_PX, **changes: Any
    ) -> tuple[Job, tuple[Image, ...]]:
        """Record four pictures of a job."""
        if job is None or job.state is JobState.QUEUED:
            job = await self.running(job, **changes)
        pngs = [_png(side_px) for _ in range(4)]
        written = await self.store.files.write_all(pngs, owner=job.member_id, now=now())
        images = [
            NewImage(index=place, seed=place, sha256=sha256, width=side_px, height=side_px)
            for place, sha256 in enumerate(written)
        ]
        return await self.store.jobs.record_rendered(
            job.id, images=images, fingerprint="{}", elapsed_s=1.0, now=now()
        )

    async def posted(self, **changes: Any) -> tuple[Job, tuple[Image, ...]]:
        """Return a job whose pictures stand in its channel."""
        job, images = await self.rendered(**changes)
        await self.shown(job)
        return await self.store.jobs.get(job.id), images

    async def take_down(self, job: Job) -> None:
        """Hide all of a job's pictures."""
        images = [image.id for image in await self.store.images.of_job(job.id)]
        await self.store.moderation.take_down(job.id, images, now=now(), **BY)  # type: ignore[arg-type]

    async def row(self, job: Job) -> Message:
        """Return what the record says of a job's message."""
        message = await self.store.outbox.of_job(job.id)
        assert message is not None
        return message

    async def shown(self, job: Job) -> Message:
        """Wait until a job's message shows what the record says."""
        return await self.until_row(job, lambda row: row.wanted == row.shown)

    async def until_row(self, job: Job, condition: Callable[[Message], bool]) -> Message:
        """Wait until the condition holds for the row of a job's message, and return that."""
        deadline_s = time.monotonic() + WAIT_S
        while not condition(row := await self.row(job)):
            assert time.monotonic() < deadline_s, f"never happened: {row}"
            await asyncio.sleep(0.01)
        return row

    async def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until the condition holds and return its value."""
        deadline_s = time.monotonic() + WAIT_S
        while not (found := condition()):
            assert time.monotonic() < deadline_s, f"never happened: {what}"
            await asyncio.sleep(0.01)
        return found

    # Discord

    async def interaction(self) -> discord.Interaction[Any]:
        """Return a command that somebody has just sent."""
        await self.discord._interact(ALICE, 2, {"id": "1", "name": "imagine", "type": 1})
        event: Any = self.discord.events[-1]
        return discord.Interaction(data=event, state=self.client._connection)

    def messages(self, job: Job, channel_id: int | None = None) -> list[dict[str, Any]]:
        """Return everything that stands in a channel with a button of this job."""
        button = re.compile(rf"atelier:(?!vote|logopen)[a-z]+:{job.id}\b")
        place = channel_id or job.place.channel_id
        posts = self.discord.posts(place)
        return [post for post in posts if button.search(str(post["components"]))]

    def message(self, job: Job) -> dict[str, Any]:
        """Return the one message of a job; fail if there are more or none."""
        (found,) = self.messages(job)
        return found

    def names(self, job: Job) -> list[str]:
        """Return the names of the files that a job's message shows."""
        return [each["filename"] for each in self.message(job)["attachments"]]

    def edits(self, job: Job) -> list[Any]:
        """Return every edit of a job's message so far."""
        number = self.message(job)["id"]
        return self.discord.called("PATCH", rf"/messages/{number}$")


async def _estimate(_job: Job) -> Wait:
    return Wait(place=1, at_least_s=1.0, at_most_s=2.0)


def _png(side_px: int) -> bytes:
    picture = Pillow.frombytes("RGB", (side_px, side_px), secrets.token_bytes(3 * side_px**2))
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue()
