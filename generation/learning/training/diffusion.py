"""Train a text-to-picture denoiser on cached latents, and export it as a diffusers folder."""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from PIL import Image
from torch import Tensor

from generation.learning.dataset import stored
from generation.learning.dataset.augment import Augmentation
from generation.learning.dataset.stored import LEARNED, Dataset, Split
from generation.learning.recipes.work import Work
from generation.learning.training import checkpoint, conditions, denoiser, latents, noising, sheet
from generation.learning.training.conditions import Captions, Wording
from generation.learning.training.denoiser import Network
from generation.learning.training.latents import Latents
from generation.learning.training.loop import Loop, Player, TrainingStopped
from generation.learning.training.optimizers import Optimizer, Schedule
from generation.learning.training.run import Placement, Run, generator_at, place
from generation.work.progress import Progress

KIND: checkpoint.Kind = "diffusion"
VELOCITY = "velocity"
HELD_OUT_SHARE = 0.05
VALIDATION_LEVELS = (0.15, 0.35, 0.55, 0.75, 0.95)
MOST_VALIDATED = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionRecipe:
    """Everything a denoiser depends on, besides dataset and autoencoder.

    Attributes:
        name: What people type after `--model`.
        title: What people read.
        default_style: The look drawn when a request names none; empty for the dataset's first.
        side_px: Of the pictures; a size of the dataset.
        views: Stored variants of each picture, the first as it is and the others augmented.
        prediction: `flow`, `sample` or `v_prediction`, see `noising`.
        time_mean: Mean of the logit of the noise level.
        time_std: Standard deviation of the logit of the noise level.
        num_inference_steps: Steps the checkpoint is drawn with.
        guidance_scale: Guidance the checkpoint is drawn with.
        terms: `velocity`, the mean square error of the predicted velocity.
    """

    name: str
    title: str
    side_px: int
    default_style: str = ""
    views: int = 1
    prediction: str = "flow"
    time_mean: float = 0.4
    time_std: float = 1.0
    num_inference_steps: int = 12
    guidance_scale: float = 3.0
    network: Network = field(default_factory=Network)
    wording: Wording = field(default_factory=Wording)
    augmentation: Augmentation = field(default_factory=Augmentation)
    terms: Mapping[str, float] = field(default_factory=lambda: {VELOCITY: 1.0})
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    run: Run = field(default_factory=Run)

    def __post_init__(self) -> None:
        if self.prediction not in noising.PREDICTIONS:
            known = ", ".join(noising.PREDICTIONS)
            raise ValueError(f"prediction {self.prediction!r} is not one of {known}")
        if self.views < 1:
            raise ValueError("views must be 1 or more")


@dataclass(frozen=True, slots=True)
class DiffusionSummary:
    """What a run produced.

    Attributes:
        parameters: Weights of the UNet.
        pictures: Drawings it was trained on, views not counted.
        views: Pictures it saw, repetitions counted.
        steps: Optimizer steps in all.
        loss: Last mean of the training loss.
        validation: Last loss on pictures left out; NaN where none were.
        seconds: Of the training loop, since its start or resumption.
    """

    out: Path
    parameters: int
    pictures: int
    views: int
    steps: int
    loss: float
    validation: float
    seconds: float

    def sentence(self) -> str:
        """Say in one line what was trained and how well."""
        unseen = "" if math.isnan(self.validation) else f", {self.validation:.4f} on unseen ones"
        return (
            f"{self.parameters / 1e6:.1f} M parameters, {self.views} views of {self.pictures}"
            f" pictures in {self.steps} steps and {self.seconds / 60:.1f} minutes,"
            f" loss {self.loss:.4f}{unseen}"
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """A loop that is ready to step, and what it trains."""

    loop: Loop
    unet: UNet2DConditionModel
    vae: AutoencoderTiny
    pictures: int


def train(work: Work, recipe: DiffusionRecipe, report: Progress) -> DiffusionSummary:
    """Train, or take up training, and export to `work.checkpoint("diffusion")`.

    Raises:
        DatasetError: The dataset is missing, or lacks the recipe's size.
        TrainingStopped: The autoencoder is missing, or training cannot go on.
    """
    dataset = stored.load(work.data)
    described = about(recipe, dataset)  # before an hour is spent on what cannot be exported
    prepared = prepare(work, recipe, dataset, report)
    outcome = prepared.loop.run(report)
    out = work.checkpoint(KIND)
    checkpoint.export(
        out,
        KIND,
        described,
        prepared.unet,
        prepared.vae,
        noising.scheduler(recipe.prediction),
    )
    return DiffusionSummary(
        out=out,
        parameters=prepared.unet.num_parameters(),
        pictures=prepared.pictures,
        views=outcome.views,
        steps=outcome.steps,
        loss=outcome.last(f"{KIND}.{VELOCITY}"),
        validation=outcome.last(f"validation.{VELOCITY}"),
        seconds=outcome.seconds,
    )


def prepare(work: Work, recipe: DiffusionRecipe, dataset: Dataset, report: Progress) -> Prepared:
    """Encode pictures and captions where that was not done yet, and set up the loop.

    Raises:
        TrainingStopped: The autoencoder is missing, or nothing may be trained on.
    """
    placement, folder = place(recipe.run), work.run(KIND)
    vae, note = latents.load_vae(work)
    learned, left_out = split(dataset, is_validated=recipe.run.validate_every > 0)
    encoded = latents.prepare(
        folder,
        vae,
        note["sha256"],
        dataset,
        np.concatenate([learned, left_out]),
        recipe.side_px,
        recipe.views,
        recipe.augmentation,
        placement.device,
        report,
    )
    captions = conditions.prepare(
        folder, dataset, encoded, recipe.wording, placement.device, report
    )
    *_, channels, _, side = encoded.values.shape
    unet = denoiser.create(recipe.network, channels, side, recipe.run.seed)
    player = Player(
        name=KIND,
        modules={"unet": unet},
        losses=_losses(unet, recipe, encoded, captions, len(learned), placement),
        terms=recipe.terms,
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
        is_divisible=True,
    )
    validate = None
    if len(left_out):
        validate = _validation(unet, recipe, encoded, captions, len(learned), placement)
    loop = Loop(
        recipe.title,
        folder,
        recipe.run,
        placement,
        [player],
        recipe.run.total_steps(len(learned)),
        validate,
        _sheet_drawer(unet, vae, recipe) if recipe.run.sheet else None,
        fingerprint=" ".join([dataset.fingerprint, *note["sha256"].values()]),
    )
    return Prepared(loop, unet, vae, len(learned))


def about(recipe: DiffusionRecipe, dataset: Dataset) -> checkpoint.About:
    """Return what the exported checkpoint says of itself.

    Raises:
        TrainingStopped: The default style is no look that is trained.
    """
    styles = checkpoint.styles(dataset)
    if not styles or (recipe.default_style and recipe.default_style not in styles):
        raise TrainingStopped(
            f"default_style {recipe.default_style!r} is not one of the looks with training"
            f" pictures: {', '.join(styles) or 'none'}; correct it in the recipe, or the splitting"
            " of the dataset"
        )
    return checkpoint.About(
        name=recipe.name,
        title=recipe.title,
        side_px=recipe.side_px,
        num_inference_steps=recipe.num_inference_steps,
        guidance_scale=recipe.guidance_scale,
        styles=styles,
        default_style=recipe.default_style or next(iter(styles)),
        vocabulary=checkpoint.vocabulary(dataset),
        num_things=len(checkpoint.concepts(dataset)),
    )


def split(
    dataset: Dataset, *, is_validated: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rows to learn from, and those to validate on.

    Validation pictures are unseen pairs: concept and look are known, their combination is not. A
    dataset that holds back none loses one picture in twenty of its training set, always the same
    ones, but only if the run validates at all.

    Raises:
        TrainingStopped: There is nothing to learn from.
    """
    learned = dataset.numbers_of(LEARNED)
    if not len(learned):
        raise TrainingStopped(
            "no picture of the dataset is for training; lower the shares in its [splitting] table"
            " and run `atelier data build` again"
        )
    if not is_validated:
        return learned, learned[:0]
    left_out = dataset.numbers_of({Split.UNSEEN_PAIR})
    if not len(left_out):
        by_lot = sorted(learned.tolist(), key=lambda number: _lot(dataset.rows[number].key))
        count = min(len(learned) - 1, max(1, round(HELD_OUT_SHARE * len(learned))))
        left_out = np.array(sorted(by_lot[:count]), np.int64)
        learned = np.setdiff1d(learned, left_out)
    # Spread evenly: a dataset lies look by look.
    stride = -(-len(left_out) // MOST_VALIDATED) or 1
    return learned, left_out[::stride]


def _lot(key: str) -> bytes:
    return hashlib.sha256(f"validation\0{key}".encode()).digest()


def _losses(
    unet: UNet2DConditionModel,
    recipe: DiffusionRecipe,
    encoded: Latents,
    captions: Captions,
    learned: int,
    placement: Placement,
) -> Callable[[int, int], Mapping[str, Tensor]]:
    def losses(step: int, batch_size: int) -> Mapping[str, Tensor]:
        generator = generator_at(recipe.run.seed, step)
        positions = torch.randint(learned, (batch_size,), generator=generator)
        views = torch.randint(encoded.views, (batch_size,), generator=generator)
        chosen = conditions.choose(captions, recipe.wording, positions, views, generator)
        levels = noising.noise_levels(batch_size, recipe.time_mean, recipe.time_std, generator)
        clean = encoded.at(positions, views)
        noise = noising.normal(clean.shape, placement.device, generator)
        states = captions.at(chosen)
        return {VELOCITY: _error(unet, recipe, placement, clean, noise, levels, states)}

    return losses


def _validation(
    unet: UNet2DConditionModel,
    recipe: DiffusionRecipe,
    encoded: Latents,
    captions: Captions,
    learned: int,
    placement: Placement,
) -> Callable[[], Mapping[str, float]]:
    """Return a measure of the loss on pictures left out: same noise, levels and words each time."""
    positions = torch.arange(learned, len(encoded.rows))
    generator = generator_at(recipe.run.seed, 0)
    shape = (len(positions), *encoded.values.shape[2:])
    noise = noising.normal(shape, placement.device, generator)
    levels = torch.tensor(VALIDATION_LEVELS).repeat(len(positions))[: len(positions)]

    def validate() -> Mapping[str, float]:
        total = 0.0
        for part in torch.arange(len(positions)).split(recipe.run.batch_size):
            views = torch.zeros_like(part)
            chosen = captions.styled[positions[part].numpy(), 0, 0]
            states = captions.at(torch.from_numpy(chosen))
            clean = encoded.at(positions[part], views)
            error = _error(unet, recipe, placement, clean, noise[part], levels[part], states)
            total += error.item() * len(part)
        return {VELOCITY: total / len(positions)}

    return validate


def _error(
    unet: UNet2DConditionModel,
    recipe: DiffusionRecipe,
    placement: Placement,
    clean: Tensor,
    noise: Tensor,
    levels: Tensor,
    states: Tensor,
) -> Tensor:
    """Return the error of the velocity that the UNet predicts."""
    clean, noise, levels = (each.to(placement.device) for each in (clean, noise, levels))
    alphas, sigmas = noising.alphas_and_sigmas(recipe.prediction, levels)
    noisy = alphas * clean + sigmas * noise
    output = unet(
        noisy.to(placement.dtype),
        noising.timesteps_of(levels),
        encoder_hidden_states=states.to(placement.device, placement.dtype),
    ).sample
    return noising.velocity_error(recipe.prediction, output.float(), clean, noise, alphas, sigmas)


def _sheet_drawer(
    unet: UNet2DConditionModel, vae: AutoencoderTiny, recipe: DiffusionRecipe
) -> Callable[[], Image.Image]:
    def draw() -> Image.Image:
        return sheet.of(
            unet,
            vae,
            noising.scheduler(recipe.prediction),
            recipe.run.sheet,
            recipe.run.seed,
            recipe.num_inference_steps,
            recipe.guidance_scale,
        )

    return draw
