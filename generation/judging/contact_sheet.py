"""Arrange pictures on one, each above its label."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from generation.judging.lettering import font_for

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
    for number, (picture, label, lines) in enumerate(zip(pictures, labels, texts, strict=True)):
        left, top = number % columns * cell_width, number // columns * cell_height
        enlarged = picture.resize((width, height), Image.Resampling.NEAREST)
        sheet.paste(enlarged, (left, top))
        for line, text in enumerate(lines):
            place = (left + 2, top + height + line * LINE_PX)
            pen.text(place, text, fill="black", font=font_for(label))
    return sheet


def _lines(label: str, width_px: int, pen: ImageDraw.ImageDraw) -> list[str]:
    """Return the first lines of a label, each with as many whole words as fit.

    A word wider than a line, such as a sentence of a script that writes no spaces, is cut in two.
    """
    font = font_for(label)

    def fits(text: str) -> bool:
        return pen.textlength(text, font=font) <= width_px

    lines: list[str] = []
    words = label.split(" ")
    while words and len(lines) < MOST_LINES:
        count = len(words)
        while count > 1 and not fits(" ".join(words[:count])):
            count -= 1
        line, words = " ".join(words[:count]), words[count:]
        if not fits(line):
            end = len(line)
            while end > 1 and not fits(line[:end]):
                end -= 1
            line, words = line[:end], [line[end:], *words]
        lines.append(line)
    return lines
