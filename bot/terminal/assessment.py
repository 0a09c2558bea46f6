"""`atelier assess`: how good a checkpoint is, by figures and by people."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
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
    from generation.learning.assessment.assess import Report
    from generation.learning.metrics.by_look import LookFigures
    from generation.learning.recipes.work import Work
    from generation.work.comparisons import ShownPicture

LEAST_COLUMNS = 128


def assess(
    context: typer.Context,
    checkpoints: Annotated[
        list[str] | None,
        typer.Argument(
            help="What was trained (diffusion, distill, gan, vae), shipped checkpoints' names, or"
            " folders; several are told side by side.  \\[default: diffusion]",
            show_default=False,
        ),
    ] = None,
    preset: PresetOption = PRESET,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON, or a list of several.")
    ] = False,
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
    from generation.learning.recipes.work import Work

    place = Work(work, preset)
    pages = out or place.run("human")
    if human is not None:
        _write_page(place, human, prompts, pages)
    elif ranking or votes:
        _print_ranking(context, ranking or [], pages, use_votes=votes)
    else:
        _measure(place, checkpoints or ["diffusion"], out, as_json=as_json)


def _measure(place: "Work", checkpoints: list[str], out: Path | None, *, as_json: bool) -> None:
    from generation.learning.assessment import assess as assessing
    from generation.learning.assessment import report as reports
    from generation.learning.training import chain
    from generation.work.manifest import CheckpointMissing

    with told_errors(), Bars() as bars:
        folders = [_folder_of(place, checkpoint) for checkpoint in checkpoints]
        try:
            assessing.scorer_for(place)
        except CheckpointMissing:
            STATUS.print("assess needs a scorer: training that first")
            chain.train(place, "scorer", chain.recipe_of(place, "scorer"), bars.report)
        found = [assessing.run(place, folder, bars.report) for folder in folders]
    pages = [
        reports.write(report, _folder_for(place, name, out, is_alone=len(found) == 1))[1]
        for name, report in zip(checkpoints, found, strict=True)
    ]
    if as_json:
        content = [reports.to_json(report) for report in found]
        typer.echo(json.dumps(content if len(found) > 1 else content[0], ensure_ascii=False))
        return
    console = Console(highlight=False)
    console.width = max(console.width, LEAST_COLUMNS)  # a file has no width of its own
    for report, page in zip(found, pages, strict=True):
        console.print(f"[bold]{escape(report.about.name)}[/]")
        for sentence in reports.in_words(report):
            console.print(sentence, markup=False)
        typer.echo(f"What it draws, above real pictures: {page.with_name(reports.SHEET_NAME)}\n")
    console.print(metrics_table(found))
    if targets := targets_table(found):
        console.print(targets)
    for words, why in found[0].left_out.items():
        STATUS.print(f"left out of the everyday words: {words!r}, {why}")
    console.print(scorer_table(found[0].of_scorer))
    for page in pages:
        typer.echo(f"Report with plots, sheets and explanations: {page}")


def _folder_for(place: "Work", name: str, out: Path | None, *, is_alone: bool) -> Path:
    """Return where a report goes; with several, each has a folder of its own in `out`."""
    folder = f"assess-{Path(name).name}"
    if out is None:
        return place.run(folder)
    return out if is_alone else out / folder


def metrics_table(found: "list[Report]") -> Table:
    """Return every metric over all prompts, the references of the first checkpoint beside it."""
    from generation.learning.assessment import report as reports

    names = [report.about.name for report in found]
    table = Table("metric", *names, "untrained", "real halves", "shuffled", "better", "verdict")
    table.columns[0].no_wrap = True
    others = [{row.metric: row.drawn for row in reports.summary(each)} for each in found[1:]]
    for row in reports.summary(found[0]):
        drawn = [row.drawn, *(other.get(row.metric, "") for other in others)]
        table.add_row(
            row.metric, *drawn, row.untrained, row.real, row.shuffled, row.better, row.verdict
        )
    seconds = [f"{report.timing.seconds:.3g}" for report in found]
    table.add_row("seconds a picture", *seconds, "", "", "", "lower", "")
    return table


def targets_table(found: "list[Report]") -> Table | None:
    """Return the targets and what became of them; none where nothing draws from words."""
    from generation.learning.assessment import report as reports

    drawing = [report for report in found if report.targets]
    if not drawing:
        return None
    table = Table("target", "wanted", "real")
    table.columns[0].no_wrap = True
    for report in drawing:
        table.add_column(report.about.name)
        table.add_column("")
    for rows in zip(*map(reports.targets, drawing), strict=True):
        cells = [cell for row in rows for cell in (row.drawn, row.verdict)]
        table.add_row(rows[0].target, rows[0].wanted, rows[0].real, *cells)
    return table


def scorer_table(figures: "Mapping[str, LookFigures]") -> Table:
    """Return how well the scorer does on real pictures that it was not trained on."""
    table = Table("the scorer, on real pictures", "caption found", "look recognised", "pictures")
    for look, each in figures.items():
        shares = (f"{each.recall:.2f}", f"{each.look_accuracy:.2f}")
        table.add_row(look, *shares, str(each.pictures))
    return table


def _write_page(place: "Work", names: tuple[str, str], count: int, out: Path) -> None:
    from generation.learning.assessment import contest

    with told_errors(), Bars() as bars:
        folders = {name: _folder_of(place, name) for name in names}
        page = contest.prepare(place, folders, count, out, bars.report)
    typer.echo(f"{page}: open it in a browser; it saves its answers as JSON.")
    typer.echo(f"Then: atelier assess --ranking ANSWERS.json --out {out}")


def _print_ranking(
    context: typer.Context, results: list[Path], keys: Path, *, use_votes: bool
) -> None:
    from generation.learning.assessment import human
    from generation.learning.metrics import preference
    from generation.work import comparisons

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
    from generation.learning.training.chain import TRAINERS
    from generation.work.checkpoints import EMBEDDED

    if name in TRAINERS:
        return place.checkpoint(name)
    shipped = EMBEDDED.parent / name
    return shipped if shipped.exists() else Path(name)
