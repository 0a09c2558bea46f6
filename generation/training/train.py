"""Train one checkpoint from a built dataset, stage by stage, and export it."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel

from generation.training import (
    autoencoder,
    checkpoint,
    conditions,
    curve,
    dataset,
    denoiser,
    sheet,
)
from generation.training.recipe import Recipe
from generation.training.sources import Progress

logger = logging.getLogger(__name__)

LOSSES = "losses.json"
CURVE = "losses.png"
SHEETS = "sheets"
SHEET_COLUMNS = 8
PSNR_PICTURES = 128


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """What a run produced.

    Attributes:
        parameters: Weights of the UNet.
        views: Pictures the denoiser saw, repetitions counted.
        psnr: Of the autoencoder's reconstructions of training pictures, in dB.
        loss: Last point of the denoiser's loss curve.
        seconds: Wall clock of this run; a resumed run counts from its resumption.
    """

    out: Path
    concepts: int
    looks: int
    pictures: int
    parameters: int
    views: int
    psnr: float
    loss: float
    seconds: float


def train(
    directory: Path, recipe: Recipe, out: Path, resume: bool, report: Progress
) -> TrainingSummary:
    """Train autoencoder and denoiser and write the checkpoint folder.

    A killed run loses at most `schedule.save_every_s` seconds: call again with `resume`.

    Args:
        directory: Keeps dataset, caches, snapshots and sample sheets.
        recipe: What to train, and for how long.
        out: Checkpoint folder to write.
        resume: Continue from snapshots; False deletes them first.
        report: Told about every stage.

    Raises:
        SourceError: The dataset cannot be built.
        FloatingPointError: A loss is no longer a number.
    """
    started_at = time.monotonic()
    if recipe.schedule.threads:
        torch.set_num_threads(recipe.schedule.threads)
    built = dataset.build(directory, recipe, report)
    if not resume:
        forget(directory)
    examples = dataset.load(directory)
    vae = autoencoder.train(directory, recipe, examples, report)
    captions = conditions.prepare(directory, recipe, examples, report)
    on_save = _sheet_drawer(directory, recipe, vae)
    unet, losses = denoiser.train(directory, recipe, examples, captions, report, on_save)
    autoencoder.train_decoder(directory, recipe, examples, vae, report)
    (directory / LOSSES).write_text(json.dumps(losses), encoding="utf-8")
    curve.draw(losses, directory / CURVE, recipe.model.title)
    stride = max(1, len(examples.rows) // PSNR_PICTURES)
    quality = autoencoder.psnr(vae, examples, torch.arange(0, len(examples.rows), stride))
    synonyms = [word for name in built.concepts for word in recipe.synonyms.get(name, ())]
    checkpoint.export(out, recipe, unet, vae, [*built.concepts, *synonyms], built.looks)
    return TrainingSummary(
        out=out,
        concepts=len(built.concepts),
        looks=len(built.looks),
        pictures=built.pictures,
        parameters=unet.num_parameters(),
        views=recipe.denoiser.steps * recipe.denoiser.batch_size,
        psnr=quality,
        loss=losses[-1] if losses else float("nan"),
        seconds=time.monotonic() - started_at,
    )


def forget(directory: Path) -> None:
    """Delete the snapshots of earlier runs; dataset and caption states stay."""
    for name in (autoencoder.JOINT, autoencoder.DECODER, denoiser.SNAPSHOT):
        (directory / name).unlink(missing_ok=True)


def _sheet_drawer(
    directory: Path, recipe: Recipe, vae: AutoencoderTiny
) -> Callable[[UNet2DConditionModel, int], None] | None:
    """Return a callback that draws the recipe's sample sheet now and then, or None."""
    schedule, model = recipe.schedule, recipe.model
    if not schedule.sheet_every_s or not schedule.sheet:
        return None
    (directory / SHEETS).mkdir(exist_ok=True)
    drawn_at = time.monotonic()

    def draw(unet: UNet2DConditionModel, step: int) -> None:
        nonlocal drawn_at
        if time.monotonic() - drawn_at < schedule.sheet_every_s:
            return
        drawn_at = time.monotonic()
        pictures = sheet.draw(
            checkpoint.pipeline(unet, vae),
            schedule.sheet,
            seed=schedule.seed,
            num_inference_steps=model.num_inference_steps,
            guidance_scale=model.guidance_scale,
        )
        path = directory / SHEETS / f"{step:06d}.png"
        sheet.grid(pictures, schedule.sheet, SHEET_COLUMNS).save(path)
        logger.info("sample sheet drawn", extra={"path": str(path), "step": step})

    return draw
