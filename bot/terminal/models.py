"""`atelier models`: what can be drawn with, and downloading what is not here yet."""

from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from bot.exits import Stop
from bot.models import checkpoints
from bot.terminal.session import STATUS, settings_of
from generation.work.checkpoints import Checkpoint

models = typer.Typer(help="What can be drawn with.", no_args_is_help=True)


@models.command("list")
def list_models(context: typer.Context) -> None:
    """Print every model, where it comes from and whether it is on this disk."""
    settings = settings_of(context, log_level="ERROR")
    table = Table("model", "from", "on this disk")
    for name, checkpoint in checkpoints(settings).items():
        table.add_row(name, _origin(checkpoint), _state(checkpoint))
    STATUS.print(table)


@models.command("fetch")
def fetch_model(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A model of the settings that names a hub_id.")],
) -> None:
    """Download a model, so that nobody waits for it later; goes on where it was interrupted.

    In float16 where its folder has that, never as pickles. For models that ask for an agreement,
    set HF_TOKEN.
    """
    settings = settings_of(context, log_level="ERROR")
    known = checkpoints(settings)
    if name not in known:
        raise Stop(f"no model is called {name!r}; there are {', '.join(known)}")
    from generation.engine.fetch import fetch
    from generation.techniques.diffusion import files

    checkpoint = known[name]
    if checkpoint.family == "pattern" or files.is_local(checkpoint):
        typer.echo(f"{name} is on this disk already: {checkpoint.source or 'built in'}")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), console=STATUS, transient=True) as progress:
        bar = progress.add_task(f"fetching {checkpoint.source}", total=None)
        folder = fetch(
            checkpoint,
            lambda done, total: progress.update(bar, completed=done, total=total),
        )
    typer.echo(f"{name}: {folder}")


def _origin(checkpoint: Checkpoint) -> str:
    if checkpoint.revision:
        return f"{checkpoint.source} at {checkpoint.revision[:12]}"
    return checkpoint.source or "built in"


def _state(checkpoint: Checkpoint) -> str:
    from generation.techniques.diffusion import files

    if checkpoint.family == "pattern":
        return "yes"
    folder = files.fetched(checkpoint)
    if folder is None:
        return f"no: atelier models fetch {checkpoint.name}"
    return f"{files.size_bytes(folder) / 1e6:,.0f} MB" if folder.is_dir() else "no such folder"
