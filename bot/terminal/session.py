"""What most commands begin with: settings, logs, the record, the worker."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import typer
from rich.console import Console

from bot.exits import ExitCode, Stop
from bot.logs import set_up_logs
from bot.models import checkpoints
from bot.settings import Settings, load_settings
from generation.engine.supervisor import Supervisor
from generation.work.checkpoints import Checkpoint
from storage.store import Store

Result = TypeVar("Result")
STATUS = Console(stderr=True, highlight=False)
FORMER_DATA_DIR = (
    "using the record in {0}, because it is in this folder; to use it from everywhere, set"
    ' data_dir = "{0}" or move it to the folder that docs/settings.md names'
)


def settings_of(context: typer.Context, *, log_level: str | None = None) -> Settings:
    """Read the settings that `atelier --config` or the environment name, and set up the logs.

    Args:
        context: Of the command; carries `--config`.
        log_level: Overrides the settings: a command at a terminal only shows warnings.

    Raises:
        SettingsRefused: A setting is wrong.
    """
    config: Path | None = context.obj
    settings = load_settings(config)
    level = settings.log_level if log_level is None else log_level
    set_up_logs(settings.log_format, level, secrets=[settings.discord_token])
    if settings.former_data_dir is not None:
        STATUS.print(FORMER_DATA_DIR.format(settings.former_data_dir), markup=False, soft_wrap=True)
    return settings


def attended(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a command's work; Ctrl-C, a closed terminal and SIGTERM all let it put things in order.

    Raises:
        Stop: It was stopped by one of these, or nobody reads its output any more.
    """
    is_asked = False

    async def run() -> Result:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def stop() -> None:
            nonlocal is_asked
            if not is_asked and task is not None:  # a second one must not cut short the clearing up
                is_asked = True
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                loop.add_signal_handler(number, stop)
        return await work

    try:
        return asyncio.run(run())
    except asyncio.CancelledError as error:
        if not is_asked:
            raise
        raise Stop("stopped", ExitCode.UNABLE) from error
    except BrokenPipeError as error:
        raise Stop("nobody reads the output any more", ExitCode.UNABLE) from error


def whole(text: str) -> str:
    """Return an argument as text that can be stored.

    Bytes that the system's locale knows nothing of arrive as halves of characters; those that are
    UTF-8 all the same are what was typed, and others become the replacement character.
    """
    return text.encode(errors="surrogateescape").decode(errors="replace")


@contextlib.asynccontextmanager
async def open_record(settings: Settings) -> AsyncIterator[Store]:
    """Open the record of jobs and pictures, and close it again."""
    store = await Store.open(settings.data_dir)
    try:
        yield store
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def open_worker(settings: Settings, first: Checkpoint) -> AsyncIterator[Supervisor]:
    """Provide a supervisor whose worker starts with checkpoint `first`, and stop it at the end."""
    supervisor = Supervisor(
        checkpoints={first.name: first, **checkpoints(settings)},
        device=settings.device,
        dtype=settings.dtype,
        threads=settings.threads,
        start_timeout_s=settings.start_timeout_s,
        step_timeout_s=settings.step_timeout_s,
        load_timeout_s=settings.load_timeout_s,
    )
    try:
        yield supervisor
    finally:
        await supervisor.stop()
