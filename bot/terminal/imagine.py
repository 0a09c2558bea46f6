"""`atelier imagine`: draw from the terminal, by the same way and into the same record as the bot."""

import asyncio
import dataclasses
import datetime as dt
import json
import os
import secrets
import sys
import unicodedata
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bot.exits import ExitCode, Stop
from bot.grammar.prompts import (
    CONFIRM_ABOVE,
    ParsedPrompt,
    Resolved,
    choose_model,
    parse_jobs,
    resolve,
)
from bot.models import checkpoints
from bot.settings import Settings
from bot.studio.drawing import Ended, Rendered, draw, now
from bot.studio.seat import NOBODY, TERMINAL, cancel, clear_abandoned, seat
from bot.terminal.checkpoint_checks import require
from bot.terminal.files import make_folder, write_whole
from bot.terminal.session import STATUS, attended, open_record, open_worker, settings_of, whole
from bot.terminal.sheet import check_sheet, check_sizes, save_sheet
from generation.engine.supervisor import Supervisor
from generation.judging.safety.decode import Decoder
from generation.judging.safety.guards import hide_memory
from generation.work import border
from generation.work.inputs import Input, Role
from generation.work.jobs import Image, Job, JobState
from generation.work.prices import price
from generation.work.requests.imagine import MAX_IMAGES, MAX_SEED
from generation.work.results import StepDone
from storage.asking import NewJob
from storage.files import FileKind
from storage.settings import GuildSettings
from storage.store import Store

USUAL_IMAGES = GuildSettings().images_per_job  # as on a server that did not choose
IMAGES_HELP = (
    f"Pictures a job. Fewer than {USUAL_IMAGES} without --seed are the best of {USUAL_IMAGES},"
    " where the model has a scorer."
)
MAX_NAME_BYTES = 60
LEASE = dt.timedelta(hours=1)  # nobody takes over what a terminal draws


def imagine(
    context: typer.Context,
    prompt: Annotated[
        str, typer.Argument(help="What to draw; Discord's --flags work in it too.")
    ] = "",
    file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Prompts, one a line, instead of PROMPT."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path(),
    images: Annotated[int, typer.Option(min=1, max=MAX_IMAGES, help=IMAGES_HELP)] = 1,
    seed: Annotated[
        int | None, typer.Option(min=0, max=MAX_SEED, help="Of the first picture.")
    ] = None,
    style: Annotated[str | None, typer.Option(help="A look the model knows.")] = None,
    model: Annotated[str | None, typer.Option(help="What draws it.")] = None,
    negative: Annotated[str | None, typer.Option(help="What to keep away from.")] = None,
    image: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A picture to start from.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="A picture of all pictures, each above its words.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a picture, and nothing else.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before many jobs.")] = False,
) -> None:
    """Draw pictures from words, e.g. `atelier imagine "a fox --style 3d --seed 7"`."""
    settings = settings_of(context, log_level="ERROR")
    flags = {"style": style, "model": model, "seed": seed, "no": negative}
    given = [f"--{flag} {value}" for flag, value in flags.items() if value is not None]
    typed = [whole(" ".join([line, *given])) for line in _typed(prompt, file)]
    parsed = [job for text in typed for job in parse_jobs(text)]
    if any(each.image_urls for each in parsed):
        raise Stop("links are opened in Discord only; give a picture with --image FILE")
    _confirm(len(parsed), is_agreed=yes)
    upload = _read_upload(image, settings.max_upload_bytes) if image else None
    make_folder(out, "--out")
    if sheet is not None:
        check_sheet(sheet)
    order = _Asked(parsed, images, upload, out, has_sheet=sheet is not None, as_json=as_json)
    drawn = attended(_imagine(settings, order))
    if sheet is not None:
        save_sheet(drawn, sheet)


@dataclasses.dataclass(frozen=True, slots=True)
class _Asked:
    """What the arguments ask for, read and checked."""

    parsed: Sequence[ParsedPrompt]
    num_images: int
    upload: bytes | None
    out: Path
    has_sheet: bool
    as_json: bool


def _typed(prompt: str, file: Path | None) -> list[str]:
    """Return the prompts to draw; empty lines of a file and those with a # in front are left out."""
    if file is None:
        return [prompt]
    if prompt:
        raise Stop("give either PROMPT or --file, not both")
    lines = [line.strip() for line in border.text_of(file).split("\n")]
    if found := [line for line in lines if line and not line.startswith("#")]:
        return found
    raise Stop(f"{file} holds no prompt; write one a line")


def _confirm(jobs: int, *, is_agreed: bool) -> None:
    if jobs <= CONFIRM_ABOVE or is_agreed:
        return
    if not sys.stdin.isatty():
        raise Stop(f"this asks for {jobs} jobs; add --yes if that is meant")
    if not typer.confirm(f"Draw {jobs} jobs?", err=True):
        raise Stop("nothing was drawn", ExitCode.NO)


def _read_upload(path: Path, max_bytes: int) -> bytes:
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)  # a device or a pipe does not say how much it holds
    if len(content) > max_bytes:
        raise Stop(f"{path} is larger than max_upload_bytes, {max_bytes:,}")
    return content


async def _imagine(settings: Settings, asked: _Asked) -> list[tuple[Job, Path]]:
    drawn = []
    async with open_record(settings) as store:
        init_image, said = None, set[str]()
        if asked.upload is not None:
            hide_memory()  # the environment may hold the bot's token
            decoded = await Decoder().decode(asked.upload)
            _say(decoded.changes, said)
            sha256 = await store.files.write(
                decoded.png, owner=NOBODY, kind=FileKind.UPLOAD, now=now()
            )
            init_image = Input(Role.START, sha256)
        resolved = _resolve(settings, asked.parsed, asked.num_images, init_image)
        if asked.has_sheet:
            check_sizes([(each.request.width, each.request.height) for each in resolved])
        for each in resolved:
            _say(each.notes, said)
        known = checkpoints(settings)
        for name in dict.fromkeys(each.request.model for each in resolved):
            await asyncio.to_thread(require, known[name])
        first = known[resolved[0].request.model]
        await clear_abandoned(store)
        jobs: list[Job] = []
        with seat(settings.data_dir):
            async with open_worker(settings, first) as supervisor:
                try:
                    for one, each in zip(asked.parsed, resolved, strict=True):
                        jobs.append(await _record(store, one.typed, each))
                    async for job, image in _draw_all(store, supervisor, jobs, said):
                        path = await asyncio.to_thread(_save, store, job, image, asked.out)
                        line = json.dumps(_fields(path, image)) if asked.as_json else str(path)
                        typer.echo(line)
                        drawn.append((job, path))
                finally:
                    await cancel(store, [job.id for job in jobs])
    return drawn


def _resolve(
    settings: Settings, parsed: Sequence[ParsedPrompt], num_images: int, init_image: Input | None
) -> list[Resolved]:
    known = checkpoints(settings)
    resolved = []
    for each in parsed:
        checkpoint = choose_model(each.model, known, settings.default_model, parsed=each)
        resolved.append(
            resolve(
                each,
                checkpoint=checkpoint,
                seed=secrets.randbelow(MAX_SEED + 1) if each.seed is None else each.seed,
                num_images=num_images,
                usual_images=USUAL_IMAGES,
                negative_prompt="",
                image=init_image,
                default_style=checkpoint.default_style,
            )
        )
    return resolved


async def _record(store: Store, typed: str, resolved: Resolved) -> Job:
    new = NewJob(
        member_id=NOBODY,
        place=TERMINAL,
        typed=typed,
        request=resolved.request,
        notes=resolved.notes,
        cost_s=price(resolved.request, await store.costs.get()).alone_s,
    )
    return await store.jobs.add(new, now=now())


async def _draw_all(
    store: Store, supervisor: Supervisor, jobs: Sequence[Job], said: set[str]
) -> AsyncIterator[tuple[Job, Image]]:
    """Draw the jobs one after the other behind a progress bar on standard error.

    Args:
        store: Where they are recorded.
        supervisor: The worker that draws.
        jobs: Queued.
        said: Notes that need not be printed again.

    Raises:
        Stop: A job could not be drawn.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=STATUS, transient=True) as progress:
        steps = sum(job.request.num_inference_steps for job in jobs)
        bar = progress.add_task("starting", total=steps)
        done = 0
        for each in jobs:
            job = each
            while job.state is JobState.QUEUED:  # again if its worker died
                async for event in draw(
                    store, supervisor, job, worker=f"terminal-{os.getpid()}", lease=LEASE
                ):
                    match event:
                        case StepDone(step=step, num_inference_steps=of):
                            drawn_steps = job.request.num_inference_steps * step / of
                            progress.update(
                                bar, completed=done + drawn_steps, description="drawing"
                            )
                        case Rendered(job, images):
                            job = await _show(store, job)
                            _say(job.notes, said)
                            for image in images:
                                yield job, image
                        case Ended(job):
                            progress.update(bar, description=job.state.value)
            if job.state is not JobState.POSTED:
                raise Stop(f"job {job.id} {job.state.value}: {job.reason}", ExitCode.UNABLE)
            done += job.request.num_inference_steps
            progress.update(bar, completed=done)


def _say(notes: Sequence[str], said: set[str]) -> None:
    """Print the notes that were not printed before."""
    for note in dict.fromkeys(notes):
        if note not in said:
            STATUS.print(note, markup=False)
    said.update(notes)


async def _show(store: Store, job: Job) -> Job:
    return await store.jobs.move(job.id, expected=JobState.RENDERED, to=JobState.POSTED, now=now())


def _save(store: Store, job: Job, image: Image, out: Path) -> Path:
    """Copy a recorded picture to the folder, under a name that no other picture has."""
    path = out / f"{_words(job.request.prompt)}-{image.seed}-{image.sha256[:8]}.png"
    write_whole(path, store.files.read(image.sha256))
    return path


def _words(prompt: str) -> str:
    """Return a prompt, in any script, as the beginning of a file's name."""
    kept = (
        letter if letter.isalnum() or unicodedata.category(letter)[0] == "M" else " "
        for letter in prompt.lower()
    )
    words = "-".join("".join(kept).split())
    try:
        cut = os.fsencode(words)[:MAX_NAME_BYTES]
    except UnicodeEncodeError:  # a system whose file names know no other script
        return "picture"
    return cut.decode(sys.getfilesystemencoding(), errors="ignore").strip("-") or "picture"


def _fields(path: Path, image: Image) -> dict[str, object]:
    return {
        "path": str(path),
        "sha256": image.sha256,
        "seed": image.seed,
        "width": image.width,
        "height": image.height,
        "image_id": image.id,
    }
