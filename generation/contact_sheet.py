"""Arrange pictures on one, each above its label."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

MARGIN_PX = 4
LABEL_PX = 14
LEAST_CELL_PX = 128


def grid(pictures: Sequence[Image.Image], labels: Sequence[str], columns: int) -> Image.Image:
    """Arrange pictures row by row, each above its label; small ones are enlarged to fit it.

    Args:
        pictures: All of one size.
        labels: One a picture.
    """
    factor = -(-LEAST_CELL_PX // pictures[0].width)
    width, height = pictures[0].width * factor, pictures[0].height * factor
    cell_width, cell_height = width + MARGIN_PX, height + LABEL_PX + MARGIN_PX
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * cell_width, rows * cell_height), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        left, top = number % columns * cell_width, number // columns * cell_height
        enlarged = picture.resize((width, height), Image.Resampling.NEAREST)
        sheet.paste(enlarged, (left, top))
        pen.text((left + 2, top + height), _fitting(label, width, pen), fill="black")
    return sheet


def _fitting(label: str, width_px: int, pen: ImageDraw.ImageDraw) -> str:
    """Return as many whole words of a label as there is room for, at least one."""
    words = label.split(" ")
    while len(words) > 1 and pen.textlength(" ".join(words)) > width_px:
        words.pop()
    return " ".join(words)
