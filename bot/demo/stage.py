"""A simulated server with the real bot on it."""

import asyncio
import contextlib
import dataclasses
import datetime as dt
import tempfile
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import discord
import simcord
from rich.console import Console

from bot.app import App, open_app
from bot.exits import ExitCode, Stop
from bot.settings import Settings
from generation.work.jobs import Job, JobState

SETTLE_TIMEOUT_S = 60.0  # a busy machine, not a slow bot
POLL_INTERVAL_S = 0.1


class Outside:
    """Declares waits for the drawing worker to the simulated Discord, once there is one."""

    def __init__(self) -> None:
        self.env: simcord.Env | None = None

    async def __call__(self, awaitable: Awaitable[Any], what: str) -> Any:
        """Wait for something outside the simulation."""
        if self.env is None:
            return await awaitable
        return await self.env.external_wait(awaitable, reason=what)


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """A server with one channel, two artists and a moderator."""

    app: App
    env: simcord.Env
    channel: Any
    ada: Any
    bo: Any
    mo: Any
    console: Console

    @property
    def people(self) -> dict[str, Any]:
        """Everybody by the name they are shown with."""
        return {"Ada": self.ada, "Bo": self.bo, "Mo": self.mo}

    async def newest_job(self, member: Any) -> Job:
        """Return the job that a member asked for last."""
        return (await self.app.store.jobs.of_member(member.id))[-1]

    async def posted(self, job: Job) -> Job:
        """Wait in real time until a job's pictures are shown.

        Raises:
            Stop: It ended without pictures.
        """
        with self.console.status("waiting") as status:
            while not job.state.is_final:
                status.update(self._progress(job))
                await asyncio.sleep(POLL_INTERVAL_S)
                job = await self.app.store.jobs.get(job.id)
        await self.env.settle()
        if job.state is not JobState.POSTED:
            raise Stop(f"job {job.id} {job.state.value}: {job.reason}", ExitCode.UNABLE)
        return job

    def message(self, job: Job) -> discord.Message:
        """Return a job's message as it stands now."""
        history: list[discord.Message] = self.channel.history()
        return next(each for each in history if each.id == job.place.message_id)

    def _progress(self, job: Job) -> str:
        if job.place.message_id is None:
            return job.state.value
        return " · ".join(text_of(self.message(job)).splitlines())


@contextlib.asynccontextmanager
async def open_stage(settings: Settings, console: Console) -> AsyncIterator[Stage]:
    """Open the real bot on a simulated server, with a record of its own that is thrown away.

    Args:
        settings: The operator's; the token and the data folder are not used.
        console: Where progress is shown.
    """
    outside = Outside()
    with tempfile.TemporaryDirectory(prefix="atelier-demo-") as folder:
        own = settings.model_copy(update={"data_dir": Path(folder), "discord_token": None})
        async with open_app(own, outside=outside) as app:
            env = simcord.Env(app.client, settle_timeout=SETTLE_TIMEOUT_S)
            outside.env = env
            await env.start()
            # simcord counts all that reaches the tree's handler as the bot's fault, and its page shows
            # an uncertain outcome. A refused prompt is an answer, so the handler is the bot's own again.
            vars(app.client.tree).pop("on_error", None)
            try:
                yield await _people(app, env, console)
            finally:
                await env.shutdown()
                outside.env = None


async def _people(app: App, env: simcord.Env, console: Console) -> Stage:
    # The simulation begins at its own New Year; people expect today.
    await env.advance_time((dt.datetime.now(dt.UTC) - env.now()).total_seconds())
    if (bot := app.client.user) is not None:
        await bot.edit(username="Atelier")
    guild = env.create_guild("Atelier demo")
    channel = guild.create_text_channel("pictures", topic="Try /imagine, /log, /consent and /help")
    moderators = guild.create_role(
        "moderators", permissions=discord.Permissions(manage_messages=True, manage_guild=True)
    )
    return Stage(
        app,
        env,
        channel,
        ada=guild.add_member(env.create_user("ada", global_name="Ada")),
        bo=guild.add_member(env.create_user("bo", global_name="Bo")),
        mo=guild.add_member(env.create_user("mo", global_name="Mo"), roles=[moderators]),
        console=console,
    )


def text_of(message: Any) -> str:
    """Return all text that a message shows, whichever components hold it."""
    raw = [each if isinstance(each, dict) else each.to_dict() for each in message.components]
    return "\n".join(filter(None, [message.content, *_texts(raw)]))


def _texts(component: Any) -> list[str]:
    if isinstance(component, list):
        return [text for each in component for text in _texts(each)]
    if component.get("type") == discord.ComponentType.text_display.value:
        return [component["content"]]
    inner = [component[key] for key in ("components", "accessory") if key in component]
    return [text for each in inner for text in _texts(each)]
