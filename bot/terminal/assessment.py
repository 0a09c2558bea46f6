"""`atelier assess`: how good a checkpoint is, by figures and by people."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from bot.terminal.session import STATUS, open_record, settings_of
from bot.terminal.training import (
    PRESET,
    WORK,
    Bars,
    PresetOption,
    WorkOption,
    require_extra,
    told_errors,
)

if TYPE_CHECKING:
    from generation.assessment.report import SummaryRow
    from generation.metrics.comparisons import ShownPicture
    from generation.recipes.work import Work

LEAST_COLUMNS = 128


def assess(
    context: typer.Context,
    checkpoint: Annotated[
        str,
        typer.Argument(
            help="What was trained (diffusion, distill, gan, vae), a shipped checkpoint's name, or"
            " a folder."
        ),
    ] = "diffusion",
    preset: PresetOption = PRESET,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of report and pages.  \\[default: in the work folder]"),
    ] = None,
    human: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="A B", help="Make a blind page on which people compare A with B."),
    ] = None,
    prompts: Annotated[int, typer.Option(min=1, help="Questions on that page.")] = 40,
    ranking: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, help="Rank by these saved answers."),
    ] = None,
    votes: Annotated[bool, typer.Option(help="Rank by the members' votes, too.")] = False,
    work: WorkOption = WORK,
) -> None:
    """Measure a checkpoint beside real, shuffled and untrained ones, or let people judge."""
    require_extra()
    from generation.recipes.work import Work

    place = Work(work, preset)
    pages = out or place.run("human")
    if human is not None:
        _write_page(place, human, prompts, pages)
    elif ranking or votes:
        _print_ranking(context, ranking or [], pages, use_votes=votes)
    else:
        _measure(place, checkpoint, out, as_json=as_json)


def _measure(place: "Work", checkpoint: str, out: Path | None, *, as_json: bool) -> None:
    from generation.assessment import assess as assessing
    from generation.assessment import report as reports
    from generation.training import chain
    from generation.training.manifest import CheckpointMissing

    with told_errors(), Bars() as bars:
        folder = _folder_of(place, checkpoint)
        try:
            assessing.scorer_for(place)
        except CheckpointMissing:
            STATUS.print("assess needs a scorer: training that first")
            chain.train(place, "scorer", chain.recipe_of(place, "scorer"), bars.report)
        found = assessing.run(place, folder, bars.report)
    written = reports.write(found, out or place.run(f"assess-{Path(checkpoint).name}"))
    if as_json:
        typer.echo(json.dumps(reports.to_json(found), ensure_ascii=False))
        return
    console = Console(highlight=False)
    console.width = max(console.width, LEAST_COLUMNS)  # a file has no width of its own
    console.print(_table(found.about.name, reports.summary(found)))
    typer.echo(f"Report with plots, sheets and explanations: {written[1]}")


def _table(title: str, rows: "list[SummaryRow]") -> Table:
    columns = ("metric", title, "untrained", "real halves", "shuffled", "better", "verdict")
    table = Table(*columns)
    table.columns[0].no_wrap = True
    for row in rows:
        table.add_row(
            row.metric, row.drawn, row.untrained, row.real, row.shuffled, row.better, row.verdict
        )
    return table


def _write_page(place: "Work", names: tuple[str, str], count: int, out: Path) -> None:
    from generation.assessment import contest

    with told_errors(), Bars() as bars:
        folders = {name: _folder_of(place, name) for name in names}
        page = contest.prepare(place, folders, count, out, bars.report)
    typer.echo(f"{page}: open it in a browser; it saves its answers as JSON.")
    typer.echo(f"Then: atelier assess --ranking ANSWERS.json --out {out}")


def _print_ranking(
    context: typer.Context, results: list[Path], keys: Path, *, use_votes: bool
) -> None:
    from generation.assessment import human
    from generation.metrics import comparisons, preference

    with told_errors():
        answers = human.comparisons_in(results, keys)
    if use_votes:
        answers += comparisons.from_votes(asyncio.run(_shown(context)))
    typer.echo(preference.table(preference.rank(answers)))


async def _shown(context: typer.Context) -> "list[ShownPicture]":
    async with open_record(settings_of(context)) as store:
        return await store.votes.side_by_side()


def _folder_of(place: "Work", name: str) -> Path:
    """Return the folder of a checkpoint by what was trained, by its shipped name or by path."""
    from generation.checkpoints import EMBEDDED
    from generation.training.chain import TRAINERS

    if name in TRAINERS:
        return place.checkpoint(name)
    shipped = EMBEDDED.parent / name
    return shipped if shipped.exists() else Path(name)
