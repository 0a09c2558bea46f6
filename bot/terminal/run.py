"""`atelier run`: the bot on Discord."""

import asyncio
import contextlib
import fcntl
import itertools
import logging
import math
import signal
from collections.abc import Iterator
from pathlib import Path

import discord
import typer

from bot.app import App, open_app
from bot.chat.failures import DISCORD_FAILURES
from bot.exits import ExitCode, Stop
from bot.settings import Settings
from bot.terminal.session import settings_of
from generation.judging.safety.guards import hide_memory

log = logging.getLogger(__name__)

HEARTBEAT = "heartbeat"  # in the data directory; `doctor --quick` looks at its age
HEARTBEAT_INTERVAL_S = 41.25  # at which Discord's gateway is asked, and acknowledges
RECHECK_INTERVAL_S = 0.5
LOGIN_AGAIN_S = (1.0, 5.0, 15.0, 60.0)
FINISH_WITHIN_S = 5.0  # for commands that are being answered when the bot is to stop
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
    asked_to_stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_stop.set)
    async with open_app(settings) as app:
        serving = asyncio.create_task(_stay_connected(app.client, token), name="discord")
        stopping = asyncio.create_task(asked_to_stop.wait(), name="stop")
        beating = asyncio.create_task(_beat(app, settings.data_dir / HEARTBEAT), name="heartbeat")
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not await app.client.handling.finish(FINISH_WITHIN_S):
                log.warning("commands_cut_off")
            for task in (serving, stopping, beating):
                task.cancel()
            # What a login that is cut off ends with is nobody's concern.
            outcomes = await asyncio.gather(serving, stopping, beating, return_exceptions=True)
            await app.client.close()
        if not asked_to_stop.is_set():
            if isinstance(outcomes[0], Exception):
                raise outcomes[0]
            raise Stop("the bot stopped by itself; the log says why", ExitCode.UNABLE)
    log.info("stopped")


async def _stay_connected(client: discord.Client, token: str) -> None:
    """Log in, however long Discord is unwell, and stay connected.

    Raises:
        Stop: Discord refuses the token.
    """
    for pause_s in itertools.chain(LOGIN_AGAIN_S, itertools.repeat(LOGIN_AGAIN_S[-1])):
        try:
            await client.login(token)
            break
        except discord.LoginFailure as error:
            raise Stop(LOGIN_REFUSED, ExitCode.UNABLE) from error
        except DISCORD_FAILURES as failure:
            if isinstance(failure, discord.HTTPException) and 400 <= failure.status < 429:
                raise Stop(f"Discord refuses the bot: {failure}", ExitCode.UNABLE) from failure
            typer.echo(
                f"atelier: Discord cannot be reached just now ({failure}); "
                f"trying again in {pause_s:.0f} s",
                err=True,
            )
            # discord.py would open a second session beside the first, on a connector of its own.
            await client.http.close()
            client.http.connector = discord.utils.MISSING
            await asyncio.sleep(pause_s)
    await client.connect()


async def _beat(app: App, path: Path) -> None:
    """Touch a file at each acknowledgement of Discord's gateway while drawing goes on.

    For health checks outside the process: a gateway that is gone, an event loop or a drawing loop
    that hangs all let the file grow old. Each acknowledgement brings a latency of its own.
    """
    seen = math.nan
    while True:
        latency = app.client.latency
        is_acknowledged = math.isfinite(latency) and latency != seen
        if is_acknowledged and app.client.is_ready() and app.studio.dispatcher.is_turning():
            seen = latency
            await asyncio.to_thread(path.touch)
        await asyncio.sleep(RECHECK_INTERVAL_S)


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
