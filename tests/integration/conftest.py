"""The real bot on a simulated Discord: real client, real SQLite file, real worker process."""

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import discord
import pytest
import simcord

from bot.app import App, open_app
from bot.chat.failures import sentence
from bot.demo.stage import Outside
from bot.settings import Settings
from bot.studio.actors import Actor
from generation.work.jobs import Job, JobState
from storage.consent import Scope

ALL_ON = dict.fromkeys(Scope, True)
WAIT_S = 30.0


@dataclasses.dataclass
class World:
    """A server with three members and a bot that draws test patterns."""

    app: App
    env: simcord.Env
    guild: Any
    channel: Any
    alice: Any
    bob: Any
    mod: Any
    stack: contextlib.AsyncExitStack
    settings: Settings
    gate: Outside

    async def until(
        self, condition: Callable[[], Awaitable[Any]], what: str, timeout_s: float = WAIT_S
    ) -> Any:
        """Wait in real time until the condition holds; the worker is a real process."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if found := await condition():
                await self.env.settle()
                return found
            await asyncio.sleep(0.02)
        raise AssertionError(f"never happened: {what}")

    async def job_in(self, job_id: int, *states: JobState) -> Job:
        """Wait until a job is in one of the states."""

        async def reached() -> Job | None:
            job = await self.app.store.jobs.find(job_id)
            return job if job and job.state in states else None

        return await self.until(reached, f"job {job_id} in {states}")

    async def consent(self, *members: Any, **answers: bool) -> None:
        """Answer the consent question without the clicks."""
        given = {scope: answers.get(scope.value, True) for scope in Scope}
        for member in members:
            await self.app.studio.answer_consent(
                Actor(member_id=member.id, guild_id=self.guild.id), given, 1
            )

    async def imagine(self, member: Any, prompt: str, **options: Any) -> Job:
        """Run `/imagine` and wait until its pictures are posted."""
        before = {job.id for job in await self.app.store.jobs.of_member(member.id)}
        await member.slash(self.channel, "imagine", prompt=prompt, **options)
        new = [j for j in await self.app.store.jobs.of_member(member.id) if j.id not in before]
        assert len(new) == 1, new
        return await self.job_in(new[0].id, JobState.POSTED)

    def message(self, job: Job) -> discord.Message:
        """Return a job's message as it stands now."""
        (found,) = [m for m in self.channel.history() if m.id == job.place.message_id]
        return found

    async def restart(self) -> None:
        """End the bot and start a new one on the same data and the same Discord."""
        gate = Outside()
        old = self.stack.pop_all()
        fresh = contextlib.AsyncExitStack()
        # The old life must let go of its worker and database before the next one opens them.
        app_context = open_app(self.settings, outside=gate)
        self.app = await fresh.enter_async_context(app_context)
        gate.env = self.env
        await self.env.restart_bot(self.app.client)
        self.gate.env = None  # what follows is no longer the bot's own work
        await old.aclose()
        self.stack, self.gate = fresh, gate


def buttons(message: discord.Message) -> dict[str, str]:
    """Return label to custom_id of every button on a message."""
    view = discord.ui.LayoutView.from_message(message, timeout=None)
    return {
        item.label or "": item.custom_id or ""
        for item in view.walk_children()
        if isinstance(item, discord.ui.Button)
    }


def answer_to(result: Any) -> Any:
    """Return what the person was told: what followed an acknowledgement, or the answer itself."""
    return result.followups[-1] if result.followups else result.response


def is_explained(error: BaseException) -> bool:
    """Whether an error was answered with a sentence for the person who caused it."""
    if isinstance(error, discord.app_commands.CommandInvokeError):
        error = error.original
    return sentence(error) is not None


@contextlib.asynccontextmanager
async def open_world(directory: Path, **overrides: Any) -> AsyncIterator[World]:
    """Open a server with two artists and a moderator, and the bot on it."""
    values = {
        "data_dir": directory,
        "default_model": "pattern",
        "device": "cpu",
        "upload_hosts": ("cdn.simcord.invalid",),
        **overrides,
    }
    settings = Settings(**values)
    gate = Outside()
    stack = contextlib.AsyncExitStack()
    app = await stack.enter_async_context(open_app(settings, outside=gate))
    env = simcord.Env(app.client, settle_timeout=20.0)
    gate.env = env
    await env.start()
    guild = env.create_guild()
    channel = guild.create_text_channel("atelier")
    mods = guild.create_role("mods", permissions=discord.Permissions(manage_messages=True))
    world = World(
        app,
        env,
        guild,
        channel,
        guild.add_member(env.create_user("alice")),
        guild.add_member(env.create_user("bob")),
        guild.add_member(env.create_user("mod"), roles=[mods]),
        stack,
        settings,
        gate,
    )
    try:
        yield world
        unexplained = [error for error in env.errors if not is_explained(error)]
        if unexplained:
            raise ExceptionGroup("the bot raised what nobody was told about", unexplained)
    finally:
        await env.shutdown()
        world.gate.env = None
        await world.stack.aclose()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path / "data") as opened:
        yield opened
