"""Train the autoencoder whose latents the denoiser works on; its decoder is cheap on a CPU."""

import copy
import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from PIL import Image
from torch import Tensor, nn

from generation.dataset.augment import Augmentation, plain, varied
from generation.dataset.stored import Dataset, Split, load
from generation.progress import Progress
from generation.training import autoencoding, discriminator, manifest, sheet
from generation.training.autoencoding import (
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
from generation.training.discriminator import Critic, adversarial_loss, critic_losses
from generation.training.loop import (
    Loop,
    Placement,
    Player,
    Run,
    TrainingStopped,
    generator_at,
    place,
)
from generation.training.optimizers import Optimizer, Schedule
from generation.training.perceptual import open_eye, perceptual_distance
from generation.training.scorer import KIND as SCORER
from generation.training.scorer import Scorer
from generation.training.work import Work

KIND = "vae"
DECODER_FOLDER = "decoder"
CONFIG = "config.json"
SHEET = "sheet.png"
TERMS = ("pixels", "edges", "kl", "perceptual", "adversarial")
MOST_HELD_OUT, MOST_NORMALISED, SCALE_BATCHES = 256, 4096, 16
SHEET_PICTURES, SHEET_COLUMNS, SHEET_SIDE_PX = 12, 8, 128

Terms = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderPhase:
    """Training the decoder alone, afterwards, on latents that no longer change.

    Attributes:
        steps: 0 leaves this phase out.
        crop_px: Side of the crops; 0 takes whole pictures, as the decoder will draw them.
    """

    steps: int = 0
    batch_size: int = 8
    crop_px: int = 0
    optimizer: Optimizer = field(default_factory=Optimizer)


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeRecipe:
    """How to train the autoencoder.

    Attributes:
        side_px: Side of the pictures, a multiple of what the blocks divide it by.
        crop_px: Side of the crops it learns from; 0 takes whole pictures.
        width: Channels of every layer.
        latent_channels: Channels of the latents.
        encoder_blocks, decoder_blocks: Residual blocks of each stage; each but the first halves,
            or each but the last doubles the side.
        deviation: First standard deviation of the posterior in every channel.
        terms: Weights of `pixels` and `edges` (see `picture_losses`), `kl`, `perceptual` (needs a
            trained scorer) and `adversarial`.
        critic: The discriminator, where `adversarial` has a weight.
        decoder: Further training of the decoder alone.
    """

    side_px: int
    crop_px: int = 0
    width: int = 32
    latent_channels: int = 8
    encoder_blocks: tuple[int, ...] = (0, 2, 3, 3)
    decoder_blocks: tuple[int, ...] = (4, 4, 3, 1)
    deviation: float = 0.05
    terms: Mapping[str, float]
    critic: Critic = field(default_factory=Critic)
    decoder: DecoderPhase = field(default_factory=DecoderPhase)
    run: Run = field(default_factory=Run)
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Schedule = field(default_factory=Schedule)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if len(self.encoder_blocks) != len(self.decoder_blocks):
            raise ValueError("encoder_blocks and decoder_blocks must be as many")
        for name in (*self.terms, *(() if self.terms.get("pixels") else ("?",))):
            if name not in TERMS:
                raise ValueError(f"terms must weigh pixels, and know {list(TERMS)}; got {name!r}")
        for name, side in (("side_px", self.side_px), ("crop_px", self.crop_px)):
            if side % self.pixels_a_latent:
                raise ValueError(f"{name} must be a multiple of {self.pixels_a_latent}")

    @property
    def pixels_a_latent(self) -> int:
        """Side of the square that one latent stands for."""
        return int(2 ** (len(self.encoder_blocks) - 1))


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


class Lessons:
    """What the autoencoder learns from in one phase, and what it is told about its drawings.

    Args:
        rows: Row numbers to learn from, int64.
        crop_px: Side of the crops; 0 takes whole pictures.
        rebuild_noisily: Pictures and chance to rebuilt pictures, and loss terms of its own.
        terms: Weights of the terms of this phase.
        eye: The scorer, where `perceptual` has a weight.
        seed: Of everything drawn by lot.
    """

    def __init__(
        self,
        recipe: VaeRecipe,
        dataset: Dataset,
        rows: Tensor,
        at: Placement,
        crop_px: int,
        rebuild_noisily: Callable[[Tensor, torch.Generator], tuple[Tensor, Terms]],
        terms: Mapping[str, float],
        eye: Scorer | None,
        seed: int,
    ) -> None:
        self._recipe, self._dataset, self._rows, self._at = recipe, dataset, rows, at
        self._crop_px, self._rebuild, self._seed = crop_px, rebuild_noisily, seed
        self._terms = {name: weight for name, weight in terms.items() if weight}
        self._eye = eye
        self._critic = discriminator.create(recipe.critic.widths, seed)
        self._pair: tuple[Tensor, Tensor] | None = None

    def players(self, modules: Mapping[str, nn.Module], optimizer: Optimizer) -> list[Player]:
        """Return the autoencoder, and its critic where the recipe has one."""
        schedule, critic = self._recipe.schedule, self._recipe.critic
        players = [Player(KIND, modules, self._losses, self._terms, optimizer, schedule)]
        if "adversarial" in self._terms:
            own = {"critic": self._critic}
            players.append(
                Player("critic", own, self._critic_losses, critic.terms, critic.optimizer, schedule)
            )
        return players

    def _losses(self, step: int, count: int) -> Terms:
        generator = generator_at(self._seed, step)
        targets = self._targets(count, generator)
        drawn, terms = self._rebuild(targets, generator)
        terms = {**terms, **picture_losses(drawn, targets)}
        if self._eye:
            terms["perceptual"] = perceptual_distance(self._eye, drawn, targets)
        if "adversarial" in self._terms and step >= self._recipe.critic.starts_at:
            terms["adversarial"] = adversarial_loss(self._critic, targets, drawn)
            self._pair = targets, drawn.detach()
        return {name: terms[name] for name in self._terms if name in terms}

    def _critic_losses(self, step: int, count: int) -> Terms:
        """Judge what the autoencoder drew in its turn just before: drawing again costs most."""
        if self._pair is None:
            return {}
        targets, drawn = self._pair
        self._pair = None
        return critic_losses(self._critic, targets[:count], drawn[:count])

    @torch.no_grad()
    def latent_scale(self, encoder: nn.Module) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of each channel over such batches as it learns from.

        Args:
            encoder: Computes in the run's format or in float32.
        """
        dtype = next(encoder.parameters()).dtype
        batches = (
            self._targets(self._recipe.run.batch_size, generator_at(self._seed + 1, number))
            for number in range(SCALE_BATCHES)
        )
        return channel_statistics(encoder(targets.to(dtype)) for targets in batches)

    def _targets(self, count: int, generator: torch.Generator) -> Tensor:
        side, crop = self._recipe.side_px, self._crop_px
        rows = self._rows[torch.randint(len(self._rows), (count,), generator=generator)]
        pictures, _ = varied(
            self._dataset, rows, side, self._recipe.augmentation, generator, self._at.device
        )
        if crop:
            corners = torch.randint(side - crop + 1, (count, 2), generator=generator).tolist()
            cropped = [
                picture[:, top : top + crop, left : left + crop]
                for picture, (top, left) in zip(pictures, corners, strict=True)
            ]
            pictures = torch.stack(cropped)
        return pictures.to(self._at.dtype, memory_format=torch.channels_last)


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
    rows = torch.from_numpy(dataset.numbers_of({Split.TRAIN}))
    if not len(rows):
        raise TrainingStopped(f"the dataset in {dataset.directory} holds no training pictures")
    unseen = torch.from_numpy(dataset.numbers_of(set(Split) - {Split.TRAIN}))
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
    """Draw pictures that were not trained on, each beside what is rebuilt of it."""
    rows = _spread(training.held_out, SHEET_PICTURES)
    originals = plain(dataset, rows, recipe.side_px, training.at.device)
    pairs = torch.stack([originals, rebuild(training.vae, originals).clamp(-1, 1)], 1).flatten(0, 1)
    pixels = pairs.permute(0, 2, 3, 1).add(1).mul(127.5).round().byte().cpu().numpy()
    size = (SHEET_SIDE_PX, SHEET_SIDE_PX)
    images = [Image.fromarray(each).resize(size, Image.Resampling.BICUBIC) for each in pixels]
    names = [dataset.rows[row] for row in rows.tolist()]
    labels = [text for row in names for text in (f"{row.concept}, {row.look}", "rebuilt")]
    return sheet.grid(images, labels, SHEET_COLUMNS)


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
