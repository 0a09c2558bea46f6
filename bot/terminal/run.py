"""`atelier run`: the bot on Discord."""

import asyncio
import contextlib
import fcntl
import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import discord
import typer

from bot.app import App, open_app
from bot.exits import ExitCode, Stop
from bot.settings import Settings
from bot.terminal.session import settings_of
from generation.judging.safety.guards import hide_memory

log = logging.getLogger(__name__)

HEARTBEAT = "heartbeat"  # in the data directory; `doctor --quick` looks at its age
HEARTBEAT_INTERVAL_S = 20.0
RECHECK_INTERVAL_S = 0.5  # while Discord does not answer
LOCK = "run.lock"

WITHOUT_LOGIN = (
    "no Discord token: set DISCORD_TOKEN, or discord_token in atelier.toml. The token is on the "
    "Bot page of your application at https://discord.com/developers/applications"
)
LOGIN_REFUSED = (
    "Discord refused the token. Make a new one on the Bot page of your application and set it as "
    "DISCORD_TOKEN"
)


def run(context: typer.Context) -> None:
    """Run the bot on Discord until it is stopped (Ctrl-C or SIGTERM)."""
    settings = settings_of(context)
    if settings.discord_token is None:
        raise Stop(WITHOUT_LOGIN)
    hide_memory()  # from now on no other process of this user reads the token out of this one
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)  # prompts are private
    with _only_one(settings.data_dir / LOCK):
        asyncio.run(_serve(settings, settings.discord_token.get_secret_value()))


async def _serve(settings: Settings, token: str) -> None:
    async with open_app(settings) as app:
        asked_to_stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, asked_to_stop.set)
        serving = asyncio.create_task(app.client.start(token), name="discord")
        stopping = asyncio.create_task(asked_to_stop.wait(), name="stop")
        beating = asyncio.create_task(_beat(app, settings.data_dir / HEARTBEAT), name="heartbeat")
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            beating.cancel()
            await app.client.close()
        try:
            await serving
        except discord.LoginFailure as error:
            raise Stop(LOGIN_REFUSED, ExitCode.UNABLE) from error
        if not asked_to_stop.is_set():
            raise Stop("the bot stopped by itself; the log says why", ExitCode.UNABLE)
    log.info("stopped")


async def _beat(app: App, path: Path) -> None:
    """Touch a file while Discord's gateway answers, for health checks outside the process."""
    while True:
        is_well = app.client.is_ready() and not app.client.is_closed()
        if is_well:
            await asyncio.to_thread(path.touch)
        await asyncio.sleep(HEARTBEAT_INTERVAL_S if is_well else RECHECK_INTERVAL_S)


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold the data directory: two bots on one record would draw every job twice.

    Raises:
        Stop: Another process holds it; its lock goes when it ends, however it ends.
    """
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Stop(
                f"another `atelier run` uses {path.parent}; stop it first, or set data_dir",
                ExitCode.UNABLE,
            ) from error
        yield
