"""A folder of pictures, with captions beside them: anyone's own, or the community's gallery."""

import hashlib
import re
from pathlib import Path

from generation.learning.dataset.captioned import CONSENTS, Consented, read_consents
from generation.learning.dataset.packages import Credit, SourceError
from generation.learning.dataset.raster import Picture
from generation.learning.dataset.recipe import Source
from generation.learning.dataset.sources.drawing import Collected, Drawing, numbered
from generation.learning.dataset.words import Meaning, WordList
from generation.work import border
from generation.work.errors import FileRefused

SUFFIXES = frozenset({".png", ".webp", ".jpg", ".jpeg"})
CAMERA_WORDS = frozenset({
    "img", "image", "dsc", "dscn", "dscf", "pict", "picture", "photo", "pxl", "scan", "screenshot",
    "untitled", "unnamed", "download", "file",
})  # fmt: skip
LEAST_LETTERS = 3
VOWEL = re.compile(r"[aeiouy]")


def collect(source: Source, work_folder: Path, words: WordList) -> Collected:
    """Read `<name>.png` (or WebP, JPEG) files; `<name>.txt`, where present, holds the caption.

    A caption file's first line says what the picture shows, further lines are other ways to say it.
    Without one, the file's name does. In an exported gallery only those pictures are taken that the
    record of consents beside them names.

    Args:
        work_folder: What the source's path is relative to.

    Raises:
        SourceError: There is no such folder, no picture in it, or none has words.
    """
    folder = work_folder / source.path
    paths = sorted(path for path in _files(folder) if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise SourceError(
            f"{folder} holds no PNG, WebP or JPEG files; put some there, with captions"
        )
    is_gallery, allowed = (folder / CONSENTS).exists(), read_consents(folder)
    names = numbered([path.stem for path in paths])
    drawings, unusable = [], {}
    for name, path in zip(names, paths, strict=True):
        content = path.read_bytes()
        if is_gallery and not _is_allowed(allowed.get(path.name), content):
            unusable[name] = "consent: its maker has not allowed it for training"
            continue
        lines = _caption(path.with_suffix(".txt"))
        spoken = _spoken(path.stem)
        if not lines and not spoken:
            unusable[name] = f"no caption: write what it shows into {path.stem}.txt"
            continue
        concept = (spoken or lines[0]).lower()
        known = words.of_label(concept)
        meaning = Meaning(
            concept=known.concept if known else concept,
            phrases=tuple(lines),
            group=known.group if known else "",
        )
        drawings.append(Drawing(name, Picture(content), meaning))
    if not drawings:
        raise SourceError(
            f"none of the {len(paths)} pictures in {folder} has a caption or a name made of words;"
            f" write what {paths[0].name} shows into {paths[0].stem}.txt, and so on"
        )
    credit = Credit(
        look=source.look,
        title=folder.name,
        package=source.path,
        version="",
        author=source.author,
        licence=source.licence,
        url="",
    )
    return Collected(tuple(drawings), credit, unusable)


def fingerprint(source: Source, work_folder: Path) -> list[tuple[str, int, int]]:
    """Return name, size in bytes and time of change in ns of every file, to notice new ones."""
    return [
        (path.name, path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(_files(work_folder / source.path))
    ]


def _is_allowed(consent: Consented | None, content: bytes) -> bool:
    return consent is not None and consent.sha256 == hashlib.sha256(content).hexdigest()


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise SourceError(f"there is no folder {folder}; make it, or leave the source out")
    return [path for path in folder.iterdir() if path.is_file()]


def _caption(path: Path) -> list[str]:
    if not path.exists():
        return []
    try:
        text = border.text_of(path)
    except FileRefused as error:
        raise SourceError(str(error)) from error
    return [line.strip() for line in text.split("\n") if line.strip()]


def _spoken(stem: str) -> str:
    """Return the words of a file name, or nothing for a camera's or a program's numbering."""
    parts = [part for part in re.split(r"[-_\s.]+", stem) if part]
    if len(parts) > 1 and parts[-1].isdigit():
        parts = parts[:-1]
    is_named = any(
        len(part) >= LEAST_LETTERS
        and part.isalpha()
        and VOWEL.search(part.lower())
        and part.lower() not in CAMERA_WORDS
        for part in parts
    )
    return " ".join(parts) if is_named else ""
