"""Arrange pictures on one, each above its label."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

MARGIN_PX = 4
LINE_PX = 14
MOST_LINES = 2
LEAST_CELL_PX = 128


def grid(pictures: Sequence[Image.Image], labels: Sequence[str], columns: int) -> Image.Image:
    """Arrange pictures row by row, each above its label; small ones are enlarged to fit it.

    Labels have two lines if one of them needs two; what does not fit into those is left out.

    Args:
        pictures: All of one size.
        labels: One a picture.
    """
    factor = -(-LEAST_CELL_PX // pictures[0].width)
    width, height = pictures[0].width * factor, pictures[0].height * factor
    ruler = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    texts = [_lines(label, width, ruler) for label in labels]
    label_px = LINE_PX * max(map(len, texts))
    cell_width, cell_height = width + MARGIN_PX, height + label_px + MARGIN_PX
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * cell_width, rows * cell_height), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (picture, lines) in enumerate(zip(pictures, texts, strict=True)):
        left, top = number % columns * cell_width, number // columns * cell_height
        enlarged = picture.resize((width, height), Image.Resampling.NEAREST)
        sheet.paste(enlarged, (left, top))
        for line, text in enumerate(lines):
            pen.text((left + 2, top + height + line * LINE_PX), text, fill="black")
    return sheet


def _lines(label: str, width_px: int, pen: ImageDraw.ImageDraw) -> list[str]:
    """Return the first lines of a label, each with as many whole words as fit, at least one."""
    lines: list[str] = []
    words = label.split(" ")
    while words and len(lines) < MOST_LINES:
        count = len(words)
        while count > 1 and pen.textlength(" ".join(words[:count])) > width_px:
            count -= 1
        lines.append(" ".join(words[:count]))
        words = words[count:]
    return lines
