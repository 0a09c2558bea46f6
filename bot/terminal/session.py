"""What most commands begin with: settings, logs, the record, the worker."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import typer
from rich.console import Console

from bot.logs import set_up_logs
from bot.models import checkpoints
from bot.settings import Settings, load_settings
from generation.engine.supervisor import Supervisor
from generation.work.checkpoints import Checkpoint
from storage.store import Store

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
    )
    try:
        yield supervisor
    finally:
        await supervisor.stop()
