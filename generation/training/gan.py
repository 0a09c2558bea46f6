"""Train the GAN: a generator and a discriminator in turns, and the encoder jointly with the first.

Half of each generated batch is dreamt (noise, caption and look to a latent to a picture), half is
rebuilt (a real picture to its latent and back), and the discriminator judges both: so rebuilt
pictures must look real, and one pass inverts any picture.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from PIL import Image
from torch import Tensor, nn

from generation.dataset.augment import Augmentation, plain, varied
from generation.dataset.stored import Dataset, DatasetError, Split, load
from generation.gan import networks
from generation.gan.model import KIND, Gan, to_pictures
from generation.progress import Progress
from generation.training import sheet
from generation.training.contrast import Captions, plain_caption
from generation.training.differentiable_augmentation import POLICIES, augment
from generation.training.loop import Loop, Placement, Player, Run, generator_at, place
from generation.training.optimizers import Optimizer, Schedule
from generation.training.relativistic import gradient_penalties, pairing_loss
from generation.training.work import Work

PENALTIES = ("r1", "r2")
SHEET = "sheet.png"
SHEET_COLUMNS, SHEET_SIDE_PX, SHEET_SEED = 8, 96, 1
VALIDATION_PICTURES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How large the networks are.

    Attributes:
        patch_px: Side of the squares of pixels that become channels at once.
        channels: Of every stage, the finest first; each next stage has half the side.
        blocks: Residual blocks of every stage.
        features: Of the discriminator, before the score.
    """

    side_px: int
    patch_px: int
    channels: tuple[int, ...]
    blocks: tuple[int, ...]
    noise_dim: int = 32
    latent_dim: int = 64
    mapping_depth: int = 2
    features: int = 64

    def __post_init__(self) -> None:
        if len(self.channels) != len(self.blocks):
            raise ValueError("channels and blocks must name the same stages")
        networks.coarsest_side(self.side_px, self.patch_px, self.channels)


@dataclass(frozen=True, slots=True, kw_only=True)
class GanRecipe:
    """How to train the GAN.

    Attributes:
        terms: Weights of the generator's turn: `adversarial`; `pixels` (mean squared difference
            of rebuilt pictures); `perceptual` (the same through the scorer's eye); `latent` (the
            encoder finds the latent of what was dreamt); `anchor` (the latent of a caption is
            drawn towards those of its pictures).
        discriminator_terms: Weights of its turn: `adversarial`, `r1` and `r2` (gamma / 2).
        penalty_every: Steps between gradient penalties, which then count so many times as much;
            they cost more than the rest of the turn.
        augmentation: How pictures are changed before anyone sees them.
        differentiable_augmentation: How pictures are changed before the discriminator sees them.
        phrasings: Most wordings of one picture.
        lookless: Share of captions that name no look.
        generator: Optimizer of mapping, synthesis and encoder.
        discriminator: Optimizer of the discriminator.
    """

    sizes: Sizes
    run: Run = field(default_factory=lambda: Run(compile=False))
    generator: Optimizer = field(default_factory=lambda: Optimizer("adam", betas=(0.0, 0.99)))
    discriminator: Optimizer = field(default_factory=lambda: Optimizer("adam", betas=(0.0, 0.99)))
    schedule: Schedule = field(default_factory=Schedule)
    terms: Mapping[str, float] = field(
        default_factory=lambda: {"adversarial": 1.0, "pixels": 4.0, "latent": 1.0, "anchor": 1.0}
    )
    discriminator_terms: Mapping[str, float] = field(
        default_factory=lambda: {"adversarial": 1.0, "r1": 0.05, "r2": 0.05}
    )
    penalty_every: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)
    differentiable_augmentation: tuple[str, ...] = POLICIES
    phrasings: int = 4
    lookless: float = 0.1

    def __post_init__(self) -> None:
        if self.run.compile:
            # torch.compile's backward pass cannot be differentiated again.
            raise ValueError("run.compile must be false: gradient penalties differentiate twice")
        if unknown := sorted(set(self.differentiable_augmentation) - set(POLICIES)):
            raise ValueError(f"differentiable_augmentation knows {POLICIES}, not {unknown}")
        if missing := {"adversarial", *PENALTIES} - set(self.discriminator_terms):
            raise ValueError(f"discriminator_terms lacks {sorted(missing)}")
        if self.penalty_every < 1:
            raise ValueError(f"penalty_every must be at least 1, not {self.penalty_every}")


@dataclass(frozen=True, slots=True)
class _Batch:
    """Real pictures with their captions, and noise to dream of the same captions."""

    pictures: Tensor
    sentences: Tensor
    looks: Tensor
    noise: Tensor

    @property
    def dreamt(self) -> int:
        """How many of the generated pictures are dreamt; the others rebuild the real ones."""
        return (len(self.pictures) + 1) // 2


class Game:
    """What either side loses by.

    Args:
        rows: Numbers of the training pictures, int64.
    """

    def __init__(
        self,
        recipe: GanRecipe,
        dataset: Dataset,
        captions: Captions,
        rows: Tensor,
        gan: Gan,
        discriminator: networks.Discriminator,
        at: Placement,
    ) -> None:
        self._recipe, self._dataset, self._captions, self._rows = recipe, dataset, captions, rows
        self._gan, self._discriminator, self._at = gan, discriminator, at

    def discriminator_losses(self, step: int, size: int) -> dict[str, Tensor]:
        """Return `adversarial`, and at some steps `r1` and `r2`."""
        recipe, generator = self._recipe, generator_at(2 * self._recipe.run.seed, step)
        batch = self._batch(size, generator)
        with torch.no_grad():
            generated, _, _ = self._generate(batch)
        seen = self._changed(torch.cat([batch.pictures, generated]), generator)
        is_penalised = step % recipe.penalty_every == 0
        seen.requires_grad_(is_penalised)
        scores = self._discriminator(
            seen, batch.sentences.repeat(2, 1), batch.looks.repeat(2)
        ).float()
        real, fake = scores.chunk(2)
        losses = {"adversarial": pairing_loss(real, fake)}
        if is_penalised:
            r1, r2 = gradient_penalties(scores, seen).view(2, -1).mean(1)
            losses |= {"r1": r1, "r2": r2}
        return losses

    def generator_losses(self, step: int, size: int) -> dict[str, Tensor]:
        """Return `adversarial`, `pixels`, `latent` and `anchor`."""
        generator = generator_at(2 * self._recipe.run.seed + 1, step)
        batch = self._batch(size, generator)
        generated, dreams, inverted = self._generate(batch)
        conditions = (batch.sentences, batch.looks)
        with torch.no_grad():
            real = self._discriminator(self._changed(batch.pictures, generator), *conditions)
        fake = self._discriminator(self._changed(generated, generator), *conditions)
        count = batch.dreamt
        found = self._gan.encoder(generated[:count].detach())
        return {
            "adversarial": pairing_loss(fake, real),
            "pixels": F.mse_loss(generated[count:].float(), batch.pictures[count:].float()),
            # Source: reciprocity in the latent space, Pidhorskyi et al., ALAE, arXiv 2004.04467.
            "latent": F.mse_loss(found.float(), dreams[:count].detach().float()),
            "anchor": F.mse_loss(dreams[count:].float(), inverted.detach().float()),
        }

    def _batch(self, size: int, generator: torch.Generator) -> _Batch:
        # At least one to dream and one to rebuild, even where memory is short.
        chosen = torch.randint(len(self._rows), (max(2, size),), generator=generator)
        rows, recipe, at = self._rows[chosen], self._recipe, self._at
        pictures, words = varied(
            self._dataset, rows, recipe.sizes.side_px, recipe.augmentation, generator, at.device
        )
        states, claims = self._captions.choose(rows, words, recipe.lookless, generator)
        noise = torch.randn((len(rows), recipe.sizes.noise_dim), generator=generator)
        return _Batch(
            pictures.to(at.dtype, memory_format=torch.channels_last),
            states.to(at.dtype),
            claims.looks.to(at.device),
            noise.to(at.device, at.dtype),
        )

    def _generate(self, batch: _Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return generated pictures, the latents of all captions, those of the rebuilt half."""
        dreams = self._gan.mapping(batch.noise, batch.sentences, batch.looks)
        inverted = self._gan.encoder(batch.pictures[batch.dreamt :])
        latents = torch.cat([dreams[: batch.dreamt], inverted])
        return self._gan.synthesis(latents), dreams, inverted

    def _changed(self, pictures: Tensor, generator: torch.Generator) -> Tensor:
        changed = augment(pictures, self._recipe.differentiable_augmentation, generator)
        return changed.to(self._at.dtype, memory_format=torch.channels_last)


@dataclass(frozen=True, slots=True)
class GanTraining:
    """A GAN that is ready to be trained.

    Attributes:
        seen: Numbers of the training rows, int64.
        held_out: Numbers of the rows that it must not see, int64; may be empty.
    """

    loop: Loop
    gan: Gan
    discriminator: networks.Discriminator
    dataset: Dataset
    captions: Captions
    at: Placement
    seen: Tensor
    held_out: Tensor


@dataclass(frozen=True, slots=True)
class GanSummary:
    """What training left behind.

    Attributes:
        psnr_db: Peak signal to noise ratio of rebuilt unseen pictures; NaN if there are none.
        views: Pictures seen, repetitions counted.
        seconds: Wall clock since the start or the resumption.
    """

    checkpoint: Path
    psnr_db: float
    steps: int
    views: int
    seconds: float

    def sentence(self) -> str:
        """Say in one line what was trained and how well."""
        return (
            f"GAN in {self.checkpoint}: {self.steps} steps, {self.views} views in"
            f" {self.seconds:.0f} s; rebuilds unseen pictures at {self.psnr_db:.1f} dB"
        )


def create(
    recipe: GanRecipe, looks: Sequence[str], template: str
) -> tuple[Gan, networks.Discriminator]:
    """Return an untrained GAN and its opponent."""
    sizes = recipe.sizes
    shape = (sizes.side_px, sizes.patch_px)
    stack = (sizes.channels, sizes.blocks)
    with torch.random.fork_rng():
        torch.random.manual_seed(recipe.run.seed)  # initial weights only, forked
        gan = Gan(
            networks.Mapping(sizes.noise_dim, sizes.latent_dim, len(looks), sizes.mapping_depth),
            networks.Synthesis(*shape, sizes.latent_dim, *stack),
            networks.Encoder(*shape, sizes.latent_dim, *stack),
            tuple(looks),
            template,
            sizes.side_px,
        )
        return gan, networks.Discriminator(*shape, *stack, sizes.features, len(looks))


def prepare(work: Work, recipe: GanRecipe, dataset: Dataset, report: Progress) -> GanTraining:
    """Encode the captions and set the loop up.

    Raises:
        DatasetError: No picture may be trained on, or not in this size.
        TrainingStopped: An earlier run in this folder had another recipe.
    """
    seen = torch.from_numpy(dataset.numbers_of({Split.TRAIN}))
    held_out = torch.from_numpy(dataset.numbers_of({Split.UNSEEN_PAIR, Split.UNSEEN_CONCEPT}))
    if not len(seen):
        raise DatasetError("no picture of the dataset is for training; change [splitting]")
    dataset.pictures(recipe.sizes.side_px)  # says at once if this size was not built
    at, folder, run = place(recipe.run), work.run(KIND), recipe.run
    captions = Captions(dataset, recipe.augmentation, recipe.phrasings, folder, at.device, report)
    gan, discriminator = create(recipe, dataset.looks, dataset.template)
    game = Game(recipe, dataset, captions, seen, gan, discriminator, at)
    # Source: lazy regularisation, Karras et al., arXiv 1912.04958, appendix B.
    penalties = {
        name: recipe.discriminator_terms[name] * recipe.penalty_every for name in PENALTIES
    }
    sides: dict[str, nn.Module] = {
        "mapping": gan.mapping, "synthesis": gan.synthesis, "encoder": gan.encoder,
    }  # fmt: skip
    players = [
        Player(
            "discriminator", {"discriminator": discriminator}, game.discriminator_losses,
            {**recipe.discriminator_terms, **penalties}, recipe.discriminator, recipe.schedule,
        ),
        Player(
            "generator", sides, game.generator_losses,
            recipe.terms, recipe.generator, recipe.schedule,
        ),
    ]  # fmt: skip

    def validate() -> dict[str, float]:
        return measure(training)

    def draw() -> Image.Image:
        return draw_sheet(training, run.sheet)

    loop = Loop(
        KIND, folder, run, at, players, run.total_steps(len(seen)),
        validate if len(held_out) else None, draw if run.sheet else None,
    )  # fmt: skip
    training = GanTraining(loop, gan, discriminator, dataset, captions, at, seen, held_out)
    return training


def train(work: Work, recipe: GanRecipe, report: Progress) -> GanSummary:
    """Train the GAN on the built dataset and export it.

    Raises:
        DatasetError: There is no dataset, or not in this size.
        TrainingStopped: Training cannot go on; the message says what to do.
    """
    dataset = load(work.data)
    training = prepare(work, recipe, dataset, report)
    outcome = training.loop.run(report)
    out = work.checkpoint(KIND)
    error = measure(training)["pixels"] if len(training.held_out) else math.nan
    psnr_db = 10 * math.log10(2**2 / error)  # the range is 2
    training.gan.save(
        out,
        {
            "name": f"gan-{work.preset}",
            "title": f"Atelier GAN ({work.preset})",
            "preset": work.preset,
            "dataset": dataset.fingerprint,
            "steps": outcome.kept_step,
        },
    )
    draw_sheet(training, recipe.run.sheet).save(work.run(KIND) / SHEET)
    return GanSummary(out, psnr_db, outcome.steps, outcome.views, outcome.seconds)


@torch.no_grad()
def measure(training: GanTraining) -> dict[str, float]:
    """Try the networks on unseen pictures; this says nothing of how good dreamt pictures are.

    Returns:
        `pixels`: mean squared difference of rebuilt unseen pictures, in [-1, 1].
        `memory`: How much higher the discriminator scores training pictures than unseen ones; what
        it has learned by heart (the quantity of Karras et al., ADA, arXiv 2006.06676, figure 1).
    """
    gan, found = training.gan, []
    for every in (training.held_out, training.seen):
        rows = _spread(every, VALIDATION_PICTURES)
        shown = plain(training.dataset, rows, gan.side_px, training.at.device)
        shown = shown.to(gan.encoder.dtype, memory_format=torch.channels_last)
        states = training.captions.plain_states(rows).to(shown.dtype)
        looks = training.captions.looks[rows].to(shown.device)
        error = F.mse_loss(gan.synthesis(gan.encoder(shown)).float(), shown.float())
        score = training.discriminator(shown, states, looks).float().mean()
        found.append((error.item(), score.item()))
    (error_unseen, score_unseen), (_, score_seen) = found
    return {"pixels": error_unseen, "memory": score_seen - score_unseen}


def draw_sheet(training: GanTraining, prompts: Sequence[str]) -> Image.Image:
    """Draw prompts, then unseen pictures above their rebuilt ones, then a blend of two of them."""
    gan, dataset, columns = training.gan, training.dataset, SHEET_COLUMNS
    rows = training.held_out if len(training.held_out) else training.seen
    rows = _spread(rows, columns)
    rows = rows[torch.arange(columns) % len(rows)]
    texts = [*prompts, *(plain_caption(dataset, row) for row in rows.tolist())]
    texts = texts[: len(texts) // columns * columns]
    real = to_pictures(plain(dataset, rows, gan.side_px))
    latents = gan.invert(real)
    shares = torch.linspace(0, 1, columns).tolist()
    blends = torch.stack([torch.lerp(latents[0], latents[-1], share) for share in shares])
    pictures = [
        *gan.draw(texts, [SHEET_SEED] * len(texts)),
        *real,
        *gan.from_latent(latents),
        *gan.from_latent(blends),
    ]
    labels = [*texts, *["unseen"] * columns, *["rebuilt"] * columns]
    labels += [f"blend {share:.2f}" for share in shares]
    size = (SHEET_SIDE_PX, SHEET_SIDE_PX)
    images = [Image.fromarray(each).resize(size, Image.Resampling.BICUBIC) for each in pictures]
    return sheet.grid(images, labels, columns)


def _spread(rows: Tensor, most: int) -> Tensor:
    """Return some rows evenly over the looks and concepts, which lie one after another."""
    return rows[:: -(-len(rows) // most)]
