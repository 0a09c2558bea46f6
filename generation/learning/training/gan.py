"""Train the GAN and its encoder, measure and export them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from diffusers import AutoencoderTiny
from PIL import Image
from torch import Tensor, nn

from generation.judging import contact_sheet
from generation.learning.dataset.augment import plain
from generation.learning.dataset.stored import HELD_OUT, LEARNED, Dataset, DatasetError, load
from generation.learning.recipes.work import Work
from generation.learning.training import latents, variations
from generation.learning.training.contrast import Captions, plain_caption
from generation.learning.training.gan_recipe import PENALTIES, TERMS, GanRecipe
from generation.learning.training.gan_turns import Game
from generation.learning.training.loop import Loop, Player, TrainingStopped
from generation.learning.training.perceptual import open_eye
from generation.learning.training.run import Placement, place
from generation.techniques.gan import networks
from generation.techniques.gan.model import KIND, Gan, to_pictures
from generation.work.progress import Progress

SHEET = "sheet.png"
SHEET_COLUMNS, SHEET_SEED = 8, 1
VALIDATION_PICTURES = 256


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
    recipe: GanRecipe, looks: Sequence[str], template: str, vae: AutoencoderTiny | None = None
) -> tuple[Gan, networks.Discriminator]:
    """Return an untrained GAN and its opponent.

    Args:
        vae: Whose latents they work on; None for pixels.

    Raises:
        TrainingStopped: The autoencoder has patches of another size.
    """
    sizes = recipe.sizes
    shape, channels = (sizes.side_px, sizes.patch_px), 3
    if vae is not None:
        patch_px = 2 ** (len(vae.config.encoder_block_out_channels) - 1)
        if sizes.patch_px != patch_px:
            raise TrainingStopped(
                f"the autoencoder has {patch_px} px a latent: set patch_px = {patch_px} under"
                " [sizes] of the GAN's recipe"
            )
        shape, channels = (sizes.side_px // patch_px, 1), vae.config.latent_channels
    stack = (sizes.channels, sizes.blocks)
    with torch.random.fork_rng():
        torch.random.manual_seed(recipe.run.seed)  # initial weights only, forked
        gan = Gan(
            networks.Mapping(sizes.noise_dim, sizes.latent_dim, len(looks), sizes.mapping_depth),
            networks.Synthesis(*shape, sizes.latent_dim, *stack, channels),
            networks.Encoder(*shape, sizes.latent_dim, *stack, channels),
            tuple(looks),
            template,
            sizes.side_px,
            vae,
        )
        return gan, networks.Discriminator(*shape, *stack, sizes.features, len(looks), channels)


def prepare(work: Work, recipe: GanRecipe, dataset: Dataset, report: Progress) -> GanTraining:
    """Encode the captions and set the loop up.

    Raises:
        DatasetError: No picture may be trained on, or not in this size.
        CheckpointMissing: It is to work on latents, or through the scorer's eye, and that was not
            trained yet.
        TrainingStopped: An earlier run in this folder had another recipe.
    """
    seen, held_out = (
        torch.tensor([n for n in dataset.numbers_of(splits) if recipe.wants(dataset.rows[n])])
        for splits in (LEARNED, HELD_OUT)
    )
    if not len(seen):
        raise DatasetError(
            "no picture of the dataset is for training; change [splitting], or the recipe's groups"
        )
    dataset.pictures(recipe.sizes.side_px)  # says at once if this size was not built
    at, folder, run = place(recipe.run), work.run(KIND), recipe.run
    captions = Captions(dataset, recipe.augmentation, recipe.phrasings, folder, at.device, report)
    vae, encoded, fingerprint = None, None, ""
    if recipe.latent_views:
        vae, note = latents.load_vae(work)
        encoded = latents.prepare(
            folder, vae, note["sha256"], dataset, seen.numpy(), recipe.sizes.side_px,
            recipe.latent_views, recipe.augmentation, at.device, report,
        )  # fmt: skip
        fingerprint = " ".join([dataset.fingerprint, *note["sha256"].values()])
    gan, discriminator = create(recipe, dataset.looks, dataset.template, vae)
    eye = open_eye(work, at) if recipe.terms.get("perceptual") else None
    game = Game(recipe, dataset, captions, seen, encoded, gan, discriminator, eye, at)
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
            {**dict.fromkeys(TERMS, 0.0), **recipe.terms}, recipe.generator, recipe.schedule,
        ),
    ]  # fmt: skip

    def validate() -> dict[str, float]:
        return measure(training)

    def draw() -> Image.Image:
        return draw_sheet(training, run.sheet)

    loop = Loop(
        KIND, folder, run, at, players, run.total_steps(len(seen)),
        validate if len(held_out) else None, draw if run.sheet else None,
        fingerprint=fingerprint,
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
            "groups": recipe.groups,
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
        rows = _spread(every, min(len(every), VALIDATION_PICTURES))
        shown = plain(training.dataset, rows, gan.side_px, training.at.device)
        seen = gan.compress(shown).to(gan.encoder.dtype, memory_format=torch.channels_last)
        states = training.captions.plain_states(rows).to(seen.dtype)
        looks = training.captions.looks[rows].to(seen.device)
        error = F.mse_loss(gan.render(gan.synthesis(gan.encoder(seen))).float(), shown.float())
        score = training.discriminator(seen, states, looks).float().mean()
        found.append((error.item(), score.item()))
    (error_unseen, score_unseen), (_, score_seen) = found
    return {"pixels": error_unseen, "memory": score_seen - score_unseen}


def draw_sheet(training: GanTraining, prompts: Sequence[str]) -> Image.Image:
    """Draw prompts, then unseen pictures: rebuilt, varied and blended."""
    gan, dataset, columns = training.gan, training.dataset, SHEET_COLUMNS
    count = -(-len(prompts) // columns) * columns  # whole rows; a short list comes again, reseeded
    texts = [prompts[number % len(prompts)] for number in range(count)]
    seeds = [SHEET_SEED + number // len(prompts) for number in range(count)]
    numbers = _spread(training.held_out if len(training.held_out) else training.seen, columns)
    chance = torch.Generator().manual_seed(SHEET_SEED)

    def decode(latents: Tensor) -> Tensor:
        pixels = torch.from_numpy(gan.from_latent(latents))
        return pixels.permute(0, 3, 1, 2).float().div(127.5).sub(1)

    pictures, labels = variations.rows(
        [plain_caption(dataset, number) for number in numbers.tolist()],
        plain(dataset, numbers, gan.side_px),
        lambda shown: gan.invert(to_pictures(shown)),
        decode,
        lambda latents: torch.randn(latents.shape, generator=chance).to(latents),
    )
    drawn = [*(gan.draw(texts, seeds) if texts else ()), *to_pictures(pictures)]
    images = [Image.fromarray(each) for each in drawn]
    return contact_sheet.grid(images, [*texts, *labels], columns)


def _spread(rows: Tensor, count: int) -> Tensor:
    """Return so many rows evenly over the looks and concepts, which lie one after another."""
    return rows[torch.arange(count) * len(rows) // count]
