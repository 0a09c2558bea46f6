"""Draw labelled sheets of sample pictures."""

from collections.abc import Sequence

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image, ImageDraw

MARGIN_PX = 4
LABEL_PX = 14
BATCH = 8


def draw(
    pipe: StableDiffusionPipeline,
    prompts: Sequence[str],
    seed: int,
    num_inference_steps: int,
    guidance_scale: float,
) -> list[Image.Image]:
    """Draw one picture a prompt, each from its own generator.

    Args:
        seed: Of the first picture; the next has the next seed.
    """
    pictures: list[Image.Image] = []
    for start in range(0, len(prompts), BATCH):
        batch = list(prompts[start : start + BATCH])
        first = seed + start
        pictures += pipe(
            batch,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            generator=[torch.Generator().manual_seed(first + i) for i in range(len(batch))],
        ).images
    return pictures


def grid(pictures: Sequence[Image.Image], labels: Sequence[str], columns: int) -> Image.Image:
    """Arrange pictures row by row, each above its label.

    Args:
        pictures: All of one size.
        labels: One a picture.
    """
    width, height = pictures[0].size
    cell_width, cell_height = width + MARGIN_PX, height + LABEL_PX + MARGIN_PX
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * cell_width, rows * cell_height), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        left, top = number % columns * cell_width, number // columns * cell_height
        sheet.paste(picture, (left, top))
        pen.text((left + 2, top + height), label, fill="black")
    return sheet
