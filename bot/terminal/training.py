"""`atelier data build` and `atelier train`: from openly licensed pictures to a checkpoint."""

import asyncio
import contextlib
import importlib.util
import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bot.exits import ExitCode, Stop
from bot.terminal import gallery
from bot.terminal.session import STATUS, open_record, settings_of
from storage.store import DATABASE_NAME

MODULES = ("imagehash", "jinja2", "matplotlib", "peft", "resvg_py", "scipy", "sklearn")
GALLERY = "gallery"


class Kind(StrEnum):
    """What can be trained; `generation.learning.training.chain.TRAINERS` says how."""

    VAE = "vae"
    DIFFUSION = "diffusion"
    DISTILL = "distill"
    GAN = "gan"
    SCORER = "scorer"
    LORA = "lora"


PresetOption = Annotated[
    str,
    typer.Option(
        help="tiny: minutes on two cores; embedded: the shipped checkpoint; full: everything there"
        " is, for a GPU; or a folder of recipes of your own."
    ),
]
WorkOption = Annotated[
    Path, typer.Option(help="Keeps packages, pictures and snapshots; a second run continues.")
]
WORK = Path("build/training")
PRESET = "tiny"


def build(
    context: typer.Context,
    preset: PresetOption = PRESET,
    source: Annotated[
        list[str] | None,
        typer.Option(
            help="Only these sources, by look; share-alike ones must be named. 'gallery' exports"
            " the members' pictures whose makers consent to improving the models: alone for a"
            " LoRA, among others into the dataset."
        ),
    ] = None,
    work: WorkOption = WORK,
) -> None:
    """Collect, caption, clean and split the pictures of a preset, and report on them."""
    require_extra()
    from generation.learning.dataset import build as building
    from generation.learning.dataset.recipe import DataRecipe
    from generation.learning.recipes.work import Work

    names = frozenset(source or ())
    with told_errors(), Bars() as bars:
        place = Work(work, preset)
        chosen = place.recipe(DataRecipe, "data")
        if GALLERY in names:
            _export_gallery(context, place.root / GALLERY)
            if names == {GALLERY}:  # for a LoRA; the dataset stays as it is
                return
        summary = building.build(place, chosen, bars.report, names)
    typer.echo(summary.sentence())


def train(
    context: typer.Context,
    kind: Annotated[Kind, typer.Argument(help="What to train; what it needs is trained first.")],
    preset: PresetOption = PRESET,
    work: WorkOption = WORK,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--fresh", help="Go on from the last snapshot, or forget it and start over."
        ),
    ] = True,
) -> None:
    """Train one part by its recipe, going on where an earlier run was stopped."""
    require_extra()
    from generation.learning.recipes.work import Work
    from generation.learning.training import chain, loop

    with told_errors(), Bars() as bars:
        place = Work(work, preset)
        chosen = chain.recipe_of(place, kind)
        for need in chain.missing(place, kind, chosen):
            STATUS.print(f"{kind} needs a {need}: training that first")
            done = chain.train(place, need, chain.recipe_of(place, need), bars.report)
            typer.echo(done.sentence())
        if kind == Kind.LORA and not chosen.pictures and _has_record(context):
            _export_gallery(context, place.root / GALLERY)  # consent counts at this moment
        if not resume:
            loop.forget(place.run(kind))
        summary = chain.train(place, kind, chosen, bars.report)
    typer.echo(summary.sentence())
    typer.echo(f"Curve and sheets: {place.run(kind)}; checkpoint: {place.checkpoint(kind)}")


def _export_gallery(context: typer.Context, folder: Path) -> None:
    """Make a folder hold the pictures whose makers consent at this moment."""

    async def export() -> gallery.GalleryExport:
        async with open_record(settings_of(context)) as store:
            return await gallery.export_gallery(store, folder)

    typer.echo(f"{folder}: {asyncio.run(export()).sentence()}")


def _has_record(context: typer.Context) -> bool:
    """Say whether a bot ran here; elsewhere the gallery's folder was brought, and stays as it is."""
    return (settings_of(context).data_dir / DATABASE_NAME).exists()


class Bars(Progress):
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


@contextlib.contextmanager
def told_errors() -> Iterator[None]:
    """Turn what training can say about itself into sentences and exit codes."""
    from generation.learning.assessment.human import ResultsError
    from generation.learning.assessment.samplers import AssessmentError
    from generation.learning.dataset.captioned import NotPermitted
    from generation.learning.dataset.packages import SourceError
    from generation.learning.dataset.stored import DatasetError
    from generation.learning.recipes.reading import RecipeError
    from generation.learning.training.loop import TrainingStopped
    from generation.work.manifest import CheckpointMissing

    unable = (SourceError, DatasetError, NotPermitted, TrainingStopped, CheckpointMissing)
    try:
        yield
    except (RecipeError, ResultsError) as error:
        raise Stop(str(error)) from error
    except (*unable, AssessmentError) as error:
        raise Stop(str(error), ExitCode.UNABLE) from error


def require_extra() -> None:
    """Refuse where the optional extra is not installed, and keep the libraries quiet where it is.

    Raises:
        Stop: Something is missing; says how to install it.
    """
    absent = [name for name in MODULES if importlib.util.find_spec(name) is None]
    if absent:
        raise Stop(
            f"this needs {', '.join(absent)}: pip install 'atelier-discord[learning]'",
            ExitCode.UNABLE,
        )
    # It warns about a missing torchvision while it is imported, before anybody could quieten it.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from generation.techniques.diffusion.loading import quieten

    quieten()
