"""Draw labelled sheets of sample pictures."""

from collections.abc import Sequence

import torch
from diffusers import (
    AutoencoderTiny,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from PIL import Image, ImageDraw

from generation.training import checkpoint

MARGIN_PX = 4
LABEL_PX = 14
BATCH = 8
COLUMNS = 8
LEAST_CELL_PX = 128


def of(
    unet: UNet2DConditionModel,
    vae: AutoencoderTiny,
    scheduler: DPMSolverMultistepScheduler,
    prompts: Sequence[str],
    seed: int,
    num_inference_steps: int,
    guidance_scale: float,
) -> Image.Image:
    """Return a sheet of what a denoiser draws at this moment of its training.

    Args:
        unet: Of any format; a float32 copy is drawn with.
    """
    drawn = UNet2DConditionModel.from_config(unet.config).to(unet.device)
    drawn.load_state_dict(unet.state_dict())
    pipe = checkpoint.pipeline(drawn.eval(), vae, scheduler)
    pictures = draw(pipe, prompts, seed, num_inference_steps, guidance_scale)
    return grid(pictures, prompts, COLUMNS)


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
        pen.text((left + 2, top + height), label, fill="black")
    return sheet
