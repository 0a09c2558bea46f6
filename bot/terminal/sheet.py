"""The sheet of `atelier imagine`: all pictures on one, checked before anything is drawn."""

import io
from collections.abc import Collection, Sequence
from pathlib import Path

import PIL.Image

from bot.exits import ExitCode, Stop
from bot.terminal.files import make_folder, write_whole
from bot.terminal.session import STATUS
from generation.judging import contact_sheet
from generation.judging.lettering import undrawable
from generation.work.jobs import Job

SHEET_COLUMNS = 8
MOST_SHOWN = 20
NO_FONT = (
    "no font of this machine has {}, so they are boxes on the sheet; install one, such as Noto"
)


def check_sheet(sheet: Path) -> None:
    """Refuse a sheet that could not be saved, before anything is drawn for it.

    Raises:
        Stop: It is a folder, or its name does not end in a kind of picture that can be written.
    """
    if sheet.is_dir():
        raise Stop(f"--sheet: {sheet} is a folder; name a file in it, such as sheet.png")
    try:
        _encoded(PIL.Image.new("RGB", (1, 1)), sheet)
    except (ValueError, KeyError, OSError) as error:
        raise Stop(
            f"--sheet: no picture can be written as {sheet.name!r}; end its name in .png, .jpg or"
            " .webp"
        ) from error
    make_folder(sheet.parent, "--sheet")


def check_sizes(sizes: Collection[tuple[int, int]]) -> None:
    """Refuse pictures that do not fit on one sheet.

    Raises:
        Stop: They differ in size.
    """
    if len(set(sizes)) > 1:
        raise Stop("the pictures would differ in size, so there can be no sheet of them")


def save_sheet(drawn: Sequence[tuple[Job, Path]], sheet: Path) -> None:
    """Arrange the drawn pictures, each above its words, and write them as one file.

    Raises:
        Stop: The file cannot be written.
    """
    pictures, labels = [], []
    for job, path in drawn:
        with PIL.Image.open(path) as opened:
            pictures.append(opened.convert("RGB"))
        labels.append(", ".join(filter(None, [job.request.prompt, job.request.style])))
    if strange := undrawable(labels):
        STATUS.print(NO_FONT.format("".join(strange[:MOST_SHOWN])), markup=False, soft_wrap=True)
    columns = min(len(pictures), SHEET_COLUMNS if len(pictures) <= 64 else 2 * SHEET_COLUMNS)
    try:
        write_whole(sheet, _encoded(contact_sheet.grid(pictures, labels, columns), sheet))
    except (ValueError, OSError) as error:  # a full disk; more pixels than JPEG or WebP can hold
        raise Stop(
            f"the pictures are drawn, but {sheet} could not be written: {error}", ExitCode.UNABLE
        ) from error


def _encoded(picture: PIL.Image.Image, sheet: Path) -> bytes:
    kind = PIL.Image.registered_extensions()[sheet.suffix.lower()]
    file = io.BytesIO()
    picture.save(file, kind, optimize=True)
    return file.getvalue()
