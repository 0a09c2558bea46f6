"""`atelier reproduce`: redraw a picture from its record and say whether it is the same."""

import asyncio
import dataclasses
import hashlib
import io
import math
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image as Pixels
from PIL import ImageChops, ImageStat

from bot.exits import ExitCode, Stop
from bot.models import checkpoints
from bot.settings import Settings
from bot.terminal.checkpoint_checks import require
from bot.terminal.files import make_folder, write_whole
from bot.terminal.session import STATUS, attended, open_record, open_worker, settings_of
from generation.work.checkpoints import Checkpoint
from generation.work.errors import UnknownCheckpoint
from generation.work.jobs import Image, Job
from generation.work.orders import Order
from generation.work.requests.imagine import Imagine
from generation.work.results import DrawnImage, EngineFingerprint, ImagesDone, OrderFailed
from storage.errors import NotFound, StorageError
from storage.store import Store

SAME_PIXELS = "every pixel is the same; only the encoding of the file differs"


@dataclasses.dataclass(frozen=True, slots=True)
class Distance:
    """How far apart two pictures of one size are, over all channels of 8 bits.

    Args:
        max_abs: Largest difference of a channel, 0 to 255.
        mean_abs: Mean difference of a channel, 0 to 255.
        psnr_db: Peak signal-to-noise ratio; infinite for equal pixels.
    """

    max_abs: int
    mean_abs: float
    psnr_db: float

    def __str__(self) -> str:
        return (
            f"largest difference {self.max_abs} of 255, mean {self.mean_abs:.3f}, "
            f"PSNR {self.psnr_db:.1f} dB"
        )


def reproduce(
    context: typer.Context,
    what: Annotated[str, typer.Argument(help="A picture's file, or its number in the record.")],
    out: Annotated[Path | None, typer.Option(help="Also write the redrawn picture here.")] = None,
) -> None:
    """Redraw a picture from its record; exit 0 only if every pixel is the same, else 1."""
    settings = settings_of(context, log_level="ERROR")
    sha256 = _sha256_of(Path(what))
    if out is not None:
        make_folder(out.parent, "--out")
    is_identical, png = attended(_reproduce(settings, what, sha256))
    if out is not None:
        write_whole(out, png)
    raise typer.Exit(ExitCode.OK if is_identical else ExitCode.NO)


def distance(one: bytes, other: bytes) -> Distance | None:
    """Return how far two encoded pictures are apart, or None if their sizes differ."""
    with Pixels.open(io.BytesIO(one)) as first, Pixels.open(io.BytesIO(other)) as second:
        if first.size != second.size:
            return None
        difference = ImageChops.difference(first.convert("RGB"), second.convert("RGB"))
    statistics = ImageStat.Stat(difference)
    mean_square = sum(rms**2 for rms in statistics.rms) / 3
    psnr_db = 10 * math.log10(255**2 / mean_square) if mean_square else math.inf
    largest = max(high for _, high in statistics.extrema)
    return Distance(int(largest), sum(statistics.mean) / 3, psnr_db)


async def _reproduce(settings: Settings, what: str, sha256: str | None) -> tuple[bool, bytes]:
    """Return whether the redrawn picture is the same, and its file."""
    async with open_record(settings) as store:
        image = await _find(store, what, sha256)
        job = await store.jobs.get(image.job_id)
        with STATUS.status("drawing it again"):
            done = await _redraw(settings, store, job, image)
        drawn = done.images[0]
        name = f"image {image.id} (job {job.id}, seed {image.seed})"
        apart = await asyncio.to_thread(_apart, store, image, drawn.png)
        is_identical = _is_same(image, drawn, apart)
        if is_identical:
            is_same_file = drawn.sha256 == image.sha256
            file = f"sha256 {image.sha256}" if is_same_file else SAME_PIXELS
            typer.echo(f"identical: {name}, {file}")
        else:
            typer.echo(f"different: {name}")
            typer.echo(engines_apart(job.fingerprint, done.fingerprint))
            typer.echo(f"  {apart}")
        if note := _words_note(job.request, checkpoints(settings)[job.request.model]):
            typer.echo(f"  {note}")
        return is_identical, drawn.png


def _is_same(image: Image, drawn: DrawnImage, apart: "Distance | str") -> bool:
    """Say whether the same was drawn: by the pixels' hash, or in older records by the file."""
    if image.pixels_sha256 is not None:
        return image.pixels_sha256 == drawn.pixels_sha256
    return drawn.sha256 == image.sha256 or (isinstance(apart, Distance) and apart.max_abs == 0)


def _sha256_of(path: Path) -> str | None:
    """Return the hash of a file, or None if there is none of this name."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _words_note(request: Imagine, checkpoint: Checkpoint) -> str:
    """Say how a style's words have changed since a picture was asked for; empty if they have not."""
    if request.style is None:
        return ""
    today = checkpoint.styles.get(request.style)
    if not request.template:
        return (
            f"the record is older than the keeping of styles' words; drawn with those that"
            f" {request.style!r} has today: {today!r}"
        )
    if today is None:
        return f"there is no style {request.style!r} any more; drawn with its words of then"
    if today != request.template:
        words = f"{request.template!r}; today they are {today!r}"
        return f"the words of {request.style!r} have changed; drawn with those of then, {words}"
    return ""


async def _find(store: Store, what: str, sha256: str | None) -> Image:
    """Return the record of a file, or of a number where `what` is none.

    Raises:
        Stop: There is none.
    """
    if sha256 is not None:
        images = await store.images.find_by_sha256(sha256)
        if not images:
            raise Stop(
                f"{what} is not in the record (sha256 {sha256}); a picture that was saved again, "
                "by an editor or a chat, is another file: give its number instead"
            )
        return images[-1]
    if what.isascii() and what.isdigit() and len(what) < 19:
        return await store.images.get(int(what))
    raise Stop(f"{what!r} is neither a file nor the number of an image")


async def _redraw(settings: Settings, store: Store, job: Job, image: Image) -> ImagesDone:
    """Draw one image of a job alone.

    Raises:
        Stop: It cannot be drawn any more.
    """
    request = job.request.only_seed(image.seed)
    known = checkpoints(settings)
    if request.model not in known:
        raise UnknownCheckpoint(f"its model {request.model!r} is no longer configured")
    await asyncio.to_thread(require, known[request.model])
    try:
        blobs = await asyncio.to_thread(store.files.read_all, request.inputs)
    except NotFound as error:
        raise Stop("the picture it started from was removed", ExitCode.UNABLE) from error
    async with open_worker(settings, known[request.model]) as supervisor:
        async for event in supervisor.render([Order(job.id, request, blobs)]):
            if isinstance(event, ImagesDone):
                return event
            if isinstance(event, OrderFailed):
                raise Stop(f"it could not be drawn: {event.message}", ExitCode.UNABLE)
    raise Stop("it was not drawn", ExitCode.UNABLE)


def engines_apart(recorded_json: str | None, fingerprint: EngineFingerprint) -> str:
    """Return how the engine of today differs from the recorded one, in lines for people."""
    recorded = EngineFingerprint.from_json(recorded_json or "{}")
    if not recorded.fields:
        return "  the record does not say which engine drew it"
    differences = recorded.differences(fingerprint)
    unknown = ", ".join(sorted(recorded.unknown(fingerprint)))
    lines = [
        f"    {name}: {then or '-'} -> {today or '-'}"
        for name, (then, today) in differences.items()
    ]
    if differences:
        lines.insert(0, "  the engine differs, so only the same look was promised:")
    elif not unknown:
        lines = ["  same engine, so the same bits were promised: please report this"]
    if unknown:
        lines.append(f"  an older record: it does not say {unknown}")
    return "\n".join(lines)


def _apart(store: Store, image: Image, png: bytes) -> "Distance | str":
    """Return how far the recorded file is from the redrawn one, or why that cannot be said."""
    try:
        apart = distance(store.files.read(image.sha256), png)
    except NotFound:
        return "its file was removed, so how far apart they are cannot be said"
    except StorageError as error:
        return f"{error}, so how far apart they are cannot be said"
    return "their sizes differ" if apart is None else apart
