"""`atelier data build` and `atelier train`: the recipe that made the embedded checkpoint."""

import contextlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bot.terminal.exits import ExitCode, Stop
from bot.terminal.session import STATUS

if TYPE_CHECKING:
    from generation.training.recipe import Recipe

RecipeFile = Annotated[
    Path | None,
    typer.Option(
        exists=True, dir_okay=False, help="Recipe.  \\[default: the embedded checkpoint's]"
    ),
]
WorkFolder = Annotated[
    Path, typer.Option(help="Keeps packages, pictures and snapshots; a second run continues.")
]
EXTRA = ("matplotlib", "resvg_py")


def build(recipe: RecipeFile = None, work: WorkFolder = Path("build/training")) -> None:
    """Collect, caption and draw the training set of a recipe."""
    chosen = _recipe(recipe)
    from generation.training import dataset

    with _Bars() as bars, _source_errors():
        summary = dataset.build(work, chosen, bars.report)
    typer.echo(
        f"{work}: {summary.pictures} pictures of {len(summary.concepts)} concepts in "
        f"{len(summary.looks)} looks, {summary.captions} captions"
        + (" (was already there)" if summary.was_cached else "")
    )


def train(
    recipe: RecipeFile = None,
    work: WorkFolder = Path("build/training"),
    out: Annotated[Path, typer.Option(help="The checkpoint's folder.")] = Path("build/checkpoint"),
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over instead of going on from snapshots.")
    ] = False,
) -> None:
    """Train a checkpoint by a recipe, going on where an earlier run was stopped."""
    chosen = _recipe(recipe)
    from generation.training import train as training

    with _Bars() as bars, _source_errors():
        summary = training.train(work, chosen, out, not fresh, bars.report)
    typer.echo(
        f"{out}: {summary.parameters / 1e6:.1f} M parameters, {summary.views} views of "
        f"{summary.pictures} pictures in {summary.seconds / 60:.0f} minutes, loss {summary.loss:.4f}, "
        f"reconstruction {summary.psnr:.1f} dB. Name it in a [[models]] table: docs/settings.md"
    )


@contextlib.contextmanager
def _source_errors() -> Iterator[None]:
    from generation.training.sources import SourceError

    try:
        yield
    except SourceError as error:
        raise Stop(str(error), ExitCode.UNABLE) from error


class _Bars(Progress):
    """One bar a stage, on standard error."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        super().__init__(*columns, console=STATUS)

    def report(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Show how far a stage is."""
        for task in self.tasks:
            if task.description == stage:
                self.update(task.id, completed=done, total=total, note=note)
                return
        self.add_task(stage, completed=done, total=total, note=note)


def _recipe(path: Path | None) -> "Recipe":
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise Stop(
            f"training needs {', '.join(missing)}: pip install 'atelier-discord[training]'",
            ExitCode.UNABLE,
        )
    from generation.training import recipe as recipes

    try:
        return recipes.load(path or recipes.RECIPES_DIRECTORY / "embedded.toml")
    except recipes.RecipeError as error:
        raise Stop(str(error)) from error
