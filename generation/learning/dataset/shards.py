"""What is already drawn of each source, so that a killed build goes on where it stopped."""

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from generation.learning.dataset import arrays, raster
from generation.learning.dataset.packages import Credit, SourceError
from generation.learning.dataset.raster import Drawn, Picture
from generation.learning.dataset.sources.drawing import Collected
from generation.learning.dataset.stored import Pictures
from generation.learning.dataset.words import Meaning

ABOUT = "about.json"
PARTS = "parts"
CHUNK = 16
# Fewer pictures than this are drawn sooner than processes start.
FEW = 64
DAMAGED = "damaged: "


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one drawn picture; fields as in `Drawing`."""

    name: str
    meaning: Meaning
    kind: str
    licence: str


@dataclass(frozen=True, slots=True)
class Shard:
    """One source, drawn.

    Attributes:
        entries: One a picture, in the order of the arrays.
        unusable: Name to reason of what could not be drawn; a damaged picture's pixels are zero.
    """

    directory: Path
    entries: tuple[Entry, ...]
    credit: Credit
    unusable: dict[str, str]

    @property
    def usable(self) -> list[int]:
        """Numbers of the entries that could be drawn."""
        return [i for i, entry in enumerate(self.entries) if entry.name not in self.unusable]

    def pictures(self, side_px: int) -> Pictures:
        """Return uint8 of shape (entries, side, side, 4), read from disk as needed."""
        pictures: Pictures = np.load(self.directory / f"{side_px}.npy", mmap_mode="r")
        return pictures


def directory_of(parent: Path, look: str, fingerprint: str) -> Path:
    """Return the shard's folder; its name changes with everything that the shard depends on."""
    name = "".join(character if character.isalnum() else "-" for character in look)
    return parent / f"{name}-{fingerprint[:16]}"


def load(directory: Path) -> Shard | None:
    """Open a finished shard."""
    if not (directory / ABOUT).exists():
        return None
    about = json.loads((directory / ABOUT).read_text(encoding="utf-8"))
    entries = [
        Entry(**{**entry, "meaning": _meaning(entry["meaning"])}) for entry in about["entries"]
    ]
    return Shard(directory, tuple(entries), Credit(**about["credit"]), about["unusable"])


def _meaning(saved: dict[str, Any]) -> Meaning:
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in saved.items()
    }
    return Meaning(**fields)


def draw(
    directory: Path,
    collected: Collected,
    sizes_px: Sequence[int],
    pool: Executor,
    tell: Callable[[int], None],
) -> Shard:
    """Draw a source and keep it; under another name until it is whole.

    Args:
        pool: Drawing processes.
        tell: Told how many pictures are drawn.

    Raises:
        SourceError: A drawing process died.
        OSError: There is no room.
    """
    drawings = collected.drawings
    unfinished = directory.with_name(f"{directory.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    unusable = dict(collected.unusable)
    blank = [np.zeros((side, side, 4), np.uint8) for side in sizes_px]
    with contextlib.ExitStack() as stack:
        files = [
            stack.enter_context(
                arrays.Writer(unfinished / f"{side_px}.npy", (len(drawings), side_px, side_px, 4))
            )
            for side_px in sizes_px
        ]
        pictures = [drawing.picture for drawing in drawings]
        results = _results(pictures, sizes_px, unfinished / PARTS, pool)
        for number, (drawing, result) in enumerate(zip(drawings, results, strict=True)):
            pixels = blank if isinstance(result, str) else result
            if isinstance(result, str):
                unusable[drawing.name] = f"{DAMAGED}{result}"
            for file, each in zip(files, pixels, strict=True):
                file.write(each)
            tell(number + 1)
    entries = [
        Entry(drawing.name, drawing.meaning, drawing.kind, drawing.licence) for drawing in drawings
    ]
    about = {
        "credit": dataclasses.asdict(collected.credit),
        "unusable": unusable,
        "entries": [dataclasses.asdict(entry) for entry in entries],
    }
    (unfinished / ABOUT).write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
    unfinished.replace(directory)
    return Shard(directory, tuple(entries), collected.credit, unusable)


def _results(
    pictures: Sequence[Picture], sizes_px: Sequence[int], folder: Path, pool: Executor
) -> Iterator[Drawn]:
    if len(pictures) < FEW:
        for picture in pictures:
            yield from raster.rasterise_many([picture], sizes_px)
        return
    folder.mkdir()
    parts = [folder / f"{start}" for start in range(0, len(pictures), CHUNK)]
    for number, part in enumerate(parts):
        raster.write_part(part, pictures[number * CHUNK : (number + 1) * CHUNK])
    try:
        reasons = pool.map(raster.draw_part, parts, [sizes_px] * len(parts))
        for part, wrong in zip(parts, reasons, strict=True):
            yield from raster.take_part(part, sizes_px, wrong)
    except BrokenProcessPool as error:
        raise SourceError(
            "a drawing process died, perhaps for want of memory; run `atelier data build` again: it"
            " goes on where it stopped"
        ) from error
    folder.rmdir()
