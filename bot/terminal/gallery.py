"""The gallery as training pictures: those whose makers allow it now, and no others."""

import asyncio
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.messages import ASKED
from bot.terminal.files import write_whole
from generation.learning.dataset.captioned import Consented, write_consents
from generation.work.requests.imagine import Imagine
from storage.consent import Scope
from storage.errors import StorageError
from storage.files import Files
from storage.store import Store
from storage.training_set import ConsentedPicture, consented_pictures

logger = logging.getLogger(__name__)

OURS = re.compile(
    r"\.?image-\d+\.(png|txt)((\.\d+)?\.partial)?"
)  # also what a kill left unfinished


@dataclass(frozen=True, slots=True)
class GalleryExport:
    """What an export did.

    Attributes:
        pictures: How many are in the folder now.
        removed: How many of an earlier export are not any more.
        unreadable: How many are allowed, but their file is missing or damaged.
    """

    pictures: int
    removed: int
    unreadable: int

    def sentence(self) -> str:
        """Say it in one line."""
        told = [f"{self.pictures} pictures whose makers agree", f"{self.removed} taken out"]
        if self.unreadable:
            told.append(f"{self.unreadable} left out, because their files are missing or damaged")
        return ", ".join(told)


async def export_gallery(store: Store, folder: Path) -> GalleryExport:
    """Make a folder hold exactly the pictures that may improve the models at this moment.

    Pictures of an earlier export whose makers have withdrawn their consent since, or that were
    deleted, taken down or reported, are removed, before anything new is written. Other files in
    the folder are left alone.

    Args:
        store: The bot's record.
        folder: Made if missing; gets `image-<number>.png`, its prompt in `image-<number>.txt`, and
            `consent.json`, which names the consent record behind each picture but no member.

    Raises:
        StorageError: The record cannot be read.
        OSError: The folder cannot be written.
    """
    pictures = await consented_pictures(store.database, ASKED[Scope.TRAINING])
    return await asyncio.to_thread(_export, store.files, pictures, folder)


def caption_of(request: Imagine) -> str:
    """Return the words of a request as a caption: on one line, without what it turns away from."""
    parts = [part.text for part in request.prompts if part.weight > 0]
    return " ".join(", ".join(parts).split())


def _export(files: Files, pictures: Sequence[ConsentedPicture], folder: Path) -> GalleryExport:
    folder.mkdir(parents=True, exist_ok=True)
    stems = {_stem_of(picture) for picture in pictures}
    found = [path for path in folder.iterdir() if OURS.fullmatch(path.name)]
    stale = [path for path in found if path.stem not in stems]
    for path in stale:
        path.unlink()
    consents = {}
    for picture in pictures:
        png, words = (folder / f"{_stem_of(picture)}.{kind}" for kind in ("png", "txt"))
        try:
            content = files.read(picture.image.sha256)
        except StorageError as error:
            logger.warning("picture left out", extra={"image": picture.image.id, "why": str(error)})
            png.unlink(missing_ok=True)
            continue
        _write(words, f"{caption_of(picture.request)}\n".encode())
        _write(png, content)
        consents[png.name] = Consented(picture.image.sha256, picture.consent_id)
    write_consents(folder, consents)
    return GalleryExport(
        pictures=len(consents),
        removed=sum(path.suffix == ".png" for path in stale),
        unreadable=len(pictures) - len(consents),
    )


def _stem_of(picture: ConsentedPicture) -> str:
    return f"image-{picture.image.id}"


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; one that is the same already stays untouched."""
    if path.exists() and path.read_bytes() == content:
        return
    write_whole(path, content)
