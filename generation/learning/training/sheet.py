"""Draw sheets of what a denoiser draws."""

from collections.abc import Sequence

import torch
from diffusers import (
    AutoencoderTiny,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from PIL import Image

from generation.judging import contact_sheet
from generation.learning.training import checkpoint

BATCH = 8
COLUMNS = 8


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
    return contact_sheet.grid(pictures, prompts, COLUMNS)


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
