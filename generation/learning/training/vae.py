"""Train the autoencoder whose latents the denoiser works on; its decoder is cheap on a CPU."""

import copy
import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from generation.judging import contact_sheet
from generation.judging.scorer.model import Scorer
from generation.learning.dataset.augment import plain
from generation.learning.dataset.stored import HELD_OUT, LEARNED, Dataset, load
from generation.learning.recipes.work import Work
from generation.learning.training import autoencoding, variations
from generation.learning.training.autoencoding import (
    Posterior,
    VaeFigures,
    channel_statistics,
    encode,
    measure,
    normalise,
    picture_losses,
    rebuild,
    scale_encoder,
    standardised,
)
from generation.learning.training.lessons import Lessons, Terms
from generation.learning.training.loop import Loop, TrainingStopped
from generation.learning.training.perceptual import open_eye, perceptual_distance
from generation.learning.training.run import Placement, place
from generation.learning.training.scorer import KIND as SCORER
from generation.learning.training.vae_recipe import VaeRecipe
from generation.work import manifest
from generation.work.progress import Progress

KIND = "vae"
DECODER_FOLDER = "decoder"
CONFIG = "config.json"
SHEET = "sheet.png"
MOST_HELD_OUT, MOST_NORMALISED = 256, 4096
SHEET_COLUMNS, SHEET_SEED, NOISE_SIDE = 8, 1, 4


@dataclass(frozen=True, slots=True)
class VaeSummary:
    """What training left behind.

    Attributes:
        figures: Of pictures that were not trained on, where the dataset holds some back.
        deviations: Posterior standard deviation of each channel of the normalised latents.
        steps: Taken in all, those of the decoder alone included.
        seconds: Wall clock since the start or the resumption.
    """

    checkpoint: Path
    figures: VaeFigures
    deviations: tuple[float, ...]
    steps: int
    seconds: float

    def sentence(self) -> str:
        """Say in one line what was trained and how well."""
        return (
            f"{self.checkpoint}: rebuilds pictures at {self.figures.psnr_db:.1f} dB, with"
            f" {self.figures.sharpness:.0%} of their sharpness, after {self.steps} steps"
        )


@dataclass(frozen=True, slots=True)
class VaeTraining:
    """An autoencoder that is ready to be trained.

    Attributes:
        eye: The scorer, where `perceptual` has a weight.
        rows: Row numbers to learn from, int64.
        held_out: Row numbers to measure with.
    """

    loop: Loop
    vae: AutoencoderTiny
    posterior: Posterior
    lessons: Lessons
    at: Placement
    eye: Scorer | None
    rows: Tensor
    held_out: Tensor


def prepare(work: Work, recipe: VaeRecipe, dataset: Dataset, report: Progress) -> VaeTraining:
    """Set up the loop that trains encoder and decoder together.

    Raises:
        CheckpointMissing: `perceptual` has a weight, but there is no trained scorer.
        TrainingStopped: The dataset has nothing to learn from.
    """
    at = place(recipe.run)
    eye = open_eye(work, at) if recipe.terms.get("perceptual") else None
    rows = torch.from_numpy(dataset.numbers_of(LEARNED))
    if not len(rows):
        raise TrainingStopped(f"the dataset in {dataset.directory} holds no training pictures")
    unseen = torch.from_numpy(dataset.numbers_of(HELD_OUT))
    held_out = _spread(unseen if len(unseen) else rows, MOST_HELD_OUT)
    vae = autoencoding.create(
        recipe.width,
        recipe.latent_channels,
        recipe.encoder_blocks,
        recipe.decoder_blocks,
        recipe.run.seed,
    )
    posterior = Posterior(recipe.latent_channels, recipe.deviation)

    def rebuild_noisily(targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Terms]:
        means = standardised(vae.encoder(targets))
        latents, kl = posterior(means, _noise_like(means, generator))
        return vae.decoder(latents.to(at.dtype)), {"kl": kl}

    lessons = Lessons(
        recipe, dataset, rows, at, recipe.crop_px, rebuild_noisily, recipe.terms, eye,
        recipe.run.seed,
    )  # fmt: skip

    def validate() -> dict[str, float]:
        mean, std = (each.view(1, -1, 1, 1) for each in lessons.latent_scale(vae.encoder))

        def rebuilt(pictures: Tensor) -> Tensor:
            latents = (encode(vae, pictures).float() - mean) / std
            return vae.decoder(latents.to(at.dtype)).float()

        return _validation(rebuilt, [*_batches(dataset, held_out, recipe, at)], recipe, eye)

    modules = {"encoder": vae.encoder, "decoder": vae.decoder, "posterior": posterior}
    loop = Loop(
        KIND,
        work.run(KIND),
        recipe.run,
        at,
        lessons.players(modules, recipe.optimizer),
        recipe.run.total_steps(len(rows)),
        validate,
        fingerprint=_fingerprint(work, dataset, eye),
    )
    return VaeTraining(loop, vae, posterior, lessons, at, eye, rows, held_out)


def train(work: Work, recipe: VaeRecipe, report: Progress) -> VaeSummary:
    """Train the autoencoder on the built dataset and export it with normalised latents.

    Raises:
        DatasetError: There is no dataset, or not in this size.
        TrainingStopped: Training cannot go on; the message says what to do.
    """
    dataset = load(work.data)
    training = prepare(work, recipe, dataset, report)
    vae = training.vae
    outcome = training.loop.run(report)
    steps, seconds = outcome.steps, outcome.seconds
    deviations = _normalise(training, dataset, recipe)
    if recipe.decoder.steps:
        outcome = decoder_loop(work, recipe, dataset, training, deviations).run(report)
        steps, seconds = steps + outcome.steps, seconds + outcome.seconds
    vae.half().float()  # measured as stored: rounded to float16
    held_out = _batches(dataset, training.held_out, recipe, training.at)
    summary = VaeSummary(
        checkpoint=work.checkpoint(KIND),
        figures=measure(functools.partial(rebuild, vae), held_out),
        deviations=tuple(deviations.tolist()),
        steps=steps,
        seconds=seconds,
    )
    draw_sheet(training, dataset, recipe).save(work.run(KIND) / SHEET)
    _export(work, recipe, dataset, vae, summary)
    return summary


def _normalise(training: VaeTraining, dataset: Dataset, recipe: VaeRecipe) -> Tensor:
    """Give the latents of training pictures zero mean and unit variance, once and for all.

    Returns:
        Posterior deviations on that scale.
    """
    vae = training.vae
    # First the scale that the decoder has learned on, then the little that plain pictures differ.
    scale_encoder(vae, *training.lessons.latent_scale(vae.encoder))
    known = _batches(dataset, _spread(training.rows, MOST_NORMALISED), recipe, training.at)
    with torch.no_grad():
        mean, std = channel_statistics(encode(vae, pictures) for pictures in known)
    normalise(vae, mean, std)
    return training.posterior.deviations.detach() / std


def decoder_loop(
    work: Work, recipe: VaeRecipe, dataset: Dataset, training: VaeTraining, deviations: Tensor
) -> Loop:
    """Return the loop that trains the decoder alone, on whole pictures for example.

    The denoiser depends on the encoder only, so this changes nothing for it.

    Args:
        training: Its autoencoder is trained and normalised.
        deviations: Of the normalised latents; each picture gets a share of that noise, because
            the decoder will see both clean latents and a denoiser's.
    """
    vae, at, eye, phase = training.vae, training.at, training.eye, recipe.decoder
    encoder = copy.deepcopy(vae.encoder).to(at.dtype).requires_grad_(requires_grad=False)

    def rebuild_noisily(targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Terms]:
        latents = encoder(targets)
        share = torch.rand((len(latents), 1, 1, 1), generator=generator).to(at.device)
        noise = share * deviations.view(1, -1, 1, 1) * _noise_like(latents, generator)
        return vae.decoder(latents + noise.to(at.dtype)), {}

    terms = {name: weight for name, weight in recipe.terms.items() if name != "kl"}
    lessons = Lessons(
        recipe, dataset, training.rows, at, phase.crop_px, rebuild_noisily, terms, eye,
        recipe.run.seed + 1,
    )  # fmt: skip

    def validate() -> dict[str, float]:
        batches = [*_batches(dataset, training.held_out, recipe, at)]
        # The copy: the loop leaves the encoder itself in float32.
        return _validation(
            lambda pictures: vae.decoder(encoder(pictures.to(at.dtype))).float(),
            batches,
            recipe,
            eye,
        )

    run = dataclasses.replace(
        recipe.run, steps=phase.steps, epochs=0.0, batch_size=phase.batch_size
    )
    return Loop(
        f"{KIND} decoder",
        work.run(KIND) / DECODER_FOLDER,
        run,
        at,
        lessons.players({"decoder": vae.decoder}, phase.optimizer),
        phase.steps,
        validate,
        fingerprint=_fingerprint(work, dataset, eye),
    )


@torch.no_grad()
def draw_sheet(training: VaeTraining, dataset: Dataset, recipe: VaeRecipe) -> Image.Image:
    """Draw pictures that were not trained on: rebuilt, varied and blended."""
    numbers = _spread(training.held_out, SHEET_COLUMNS)
    originals = plain(dataset, numbers, recipe.side_px, training.at.device)
    pictures, labels = variations.rows(
        [f"{dataset.rows[number].concept}, {dataset.rows[number].look}" for number in numbers],
        originals,
        functools.partial(encode, training.vae),
        training.vae.decoder,
        _smooth_noise_like,
    )
    pixels = pictures.permute(0, 2, 3, 1).add(1).mul(127.5).round().byte().cpu().numpy()
    return contact_sheet.grid([Image.fromarray(each) for each in pixels], labels, SHEET_COLUMNS)


def _smooth_noise_like(latents: Tensor) -> Tensor:
    """Return noise that changes slowly over the picture; the decoder takes other for texture."""
    count, channels, height, width = latents.shape
    chance = torch.Generator().manual_seed(SHEET_SEED)
    coarse = torch.randn((count, channels, NOISE_SIDE, NOISE_SIDE), generator=chance)
    noise = interpolate(coarse.to(latents), (height, width), mode="bicubic")
    return noise / noise.std()


def _export(
    work: Work, recipe: VaeRecipe, dataset: Dataset, vae: AutoencoderTiny, summary: VaeSummary
) -> None:
    out = summary.checkpoint
    vae.half().save_pretrained(out)
    vae.float()
    config = json.loads((out / CONFIG).read_text(encoding="utf-8"))
    config.pop("block_out_channels", None)  # the class writes this key, then warns about it
    (out / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    manifest.write(
        out,
        KIND,
        {
            "preset": work.preset,
            "dataset": dataset.fingerprint,
            "side_px": recipe.side_px,
            "deviations": summary.deviations,
            "psnr_db": summary.figures.psnr_db,
            "sharpness": summary.figures.sharpness,
            "steps": summary.steps,
        },
    )


def _fingerprint(work: Work, dataset: Dataset, eye: Scorer | None) -> str:
    """Return what the run depends on besides the recipe."""
    hashes = manifest.read(work.checkpoint(SCORER), SCORER)["sha256"] if eye else {}
    return " ".join([dataset.fingerprint, *hashes.values()])


@torch.no_grad()
def _validation(
    rebuilt: Callable[[Tensor], Tensor],
    batches: Sequence[Tensor],
    recipe: VaeRecipe,
    eye: Scorer | None,
) -> dict[str, float]:
    """Return the weighted loss of rebuilding, without noise, divergence and critic; and figures."""
    total = 0.0
    for targets in batches:
        drawn = rebuilt(targets)
        terms = picture_losses(drawn, targets)
        if eye:
            terms["perceptual"] = perceptual_distance(eye, drawn, targets)
        loss = sum(recipe.terms.get(name, 0.0) * term.item() for name, term in terms.items())
        total += loss * len(targets)
    figures = measure(rebuilt, batches)
    return {
        "loss": total / sum(len(targets) for targets in batches),
        "psnr_db": figures.psnr_db,
        "sharpness": figures.sharpness,
    }


def _batches(dataset: Dataset, rows: Tensor, recipe: VaeRecipe, at: Placement) -> Iterator[Tensor]:
    for part in rows.split(recipe.run.batch_size):
        yield plain(dataset, part, recipe.side_px, at.device)


def _spread(rows: Tensor, most: int) -> Tensor:
    """Return at most so many of the rows, evenly spread."""
    count = min(most, len(rows))
    return rows[torch.arange(count) * len(rows) // max(1, count)]


def _noise_like(latents: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(latents.shape, generator=generator).to(latents.device)
