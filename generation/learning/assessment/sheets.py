"""Sheets of pictures in a report: what was drawn above what the dataset has."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image

from generation.judging import contact_sheet
from generation.learning.assessment.assess import Report
from generation.learning.assessment.judge import Pictures, real_pictures, to_pictures

COLUMNS, SIDE_PX = 8, 128


def of_looks(report: Report) -> Iterator[tuple[str, Image.Image]]:
    """Yield each look with a sheet: what was drawn above what the dataset has."""
    for look in report.dataset.looks:
        asked = [
            number
            for number, prompt in enumerate(report.prompts)
            if report.dataset.rows[prompt.row].look == look
        ]
        # A few of each group of prompts, not only the first group's.
        stride = max(1, len(asked) // COLUMNS)
        numbers = asked[::stride][:COLUMNS]
        if numbers:
            prompts = [report.prompts[number] for number in numbers]
            labels = [_words(report, number) for number in numbers]
            labels += [prompt.group.value for prompt in prompts]
            drawn = report.pictures[0, numbers]
            real = _real(report, [prompt.row for prompt in prompts])
            yield look, _pairs(drawn, real, labels)


def of_closest(report: Report) -> Image.Image:
    """Draw each of the closest pairs: the drawn picture above the training picture."""
    pairs = report.closest
    drawn = report.pictures[[pair.turn for pair in pairs], [pair.prompt for pair in pairs]]
    rows = [report.dataset.rows[pair.row] for pair in pairs]
    looks = [report.dataset.rows[report.prompts[pair.prompt].row].look for pair in pairs]
    above = [
        f"{look}: {_words(report, pair.prompt)}" for look, pair in zip(looks, pairs, strict=True)
    ]
    below = [
        f"{pair.ratio:.2f} {row.look}: {row.concept}" for row, pair in zip(rows, pairs, strict=True)
    ]
    real = _real(report, [pair.row for pair in pairs])
    strips = [
        _pairs(drawn[part], real[part], [*above[part], *below[part]])
        for part in (slice(start, start + COLUMNS) for start in range(0, len(pairs), COLUMNS))
    ]
    return stacked(strips)


def stacked(strips: Sequence[Image.Image]) -> Image.Image:
    """Return pictures below one another on one."""
    width, height = max(each.width for each in strips), sum(each.height for each in strips)
    whole = Image.new("RGB", (width, height), "white")
    top = 0
    for strip in strips:
        whole.paste(strip, (0, top))
        top += strip.height
    return whole


def _words(report: Report, number: int) -> str:
    """Return what a prompt asks for, without its look."""
    prompt = report.prompts[number]
    look = report.dataset.rows[prompt.row].look
    return prompt.text.removesuffix(f", {look} style")


def _real(report: Report, rows: Sequence[int]) -> Pictures:
    numbers = torch.tensor(rows, dtype=torch.int64)
    return to_pictures(real_pictures(report.dataset, numbers, report.about.side_px))


def _pairs(drawn: Pictures, real: Pictures, labels: Sequence[str]) -> Image.Image:
    """Return one row of drawn pictures above one of real ones."""
    size = (SIDE_PX, SIDE_PX)
    images = [
        Image.fromarray(each).resize(size, Image.Resampling.BICUBIC)
        for each in np.concatenate([drawn, real])
    ]
    return contact_sheet.grid(images, labels, len(drawn))
