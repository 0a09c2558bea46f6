"""What a GAN's recipe says."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from generation.learning.dataset.augment import Augmentation
from generation.learning.dataset.stored import Row
from generation.learning.training.differentiable_augmentation import POLICIES
from generation.learning.training.optimizers import Optimizer, Schedule
from generation.learning.training.run import Run
from generation.techniques.gan.networks import coarsest_side

TERMS = ("adversarial", "pixels", "latent", "anchor")  # and "perceptual", which needs a scorer
PENALTIES = ("r1", "r2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How large the networks are.

    Attributes:
        patch_px: Side of the squares of pixels that become channels at once, by rearranging them
            or by the autoencoder, whose own it then is.
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
        coarsest_side(self.side_px, self.patch_px, self.channels)


@dataclass(frozen=True, slots=True, kw_only=True)
class GanRecipe:
    """How to train the GAN.

    Attributes:
        groups: Coarse kinds of things to learn, such as `animals and nature`; empty for all. Few
            things learnt well can be crossed, many learnt badly cannot.
        latent_views: So many variants of every picture are stored as latents of the preset's
            autoencoder, and the networks work on those; 0 leaves them to work on pixels.
        terms: Weights of the generator's turn: `adversarial`; `pixels` (mean squared difference
            of rebuilt pictures, or of their latents); `perceptual` (the same through the
            scorer's eye); `latent` (the encoder finds the latent of what was dreamt); `anchor`
            (the latent of a caption is drawn towards those of its pictures).
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
    groups: tuple[str, ...] = ()
    latent_views: int = 0
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
        if unknown := sorted(set(self.terms) - {*TERMS, "perceptual"}):
            raise ValueError(f"terms knows {[*TERMS, 'perceptual']}, not {unknown}")
        if missing := {"adversarial", *PENALTIES} - set(self.discriminator_terms):
            raise ValueError(f"discriminator_terms lacks {sorted(missing)}")
        if self.latent_views and self.terms.get("perceptual"):
            raise ValueError("terms.perceptual looks at pixels: it needs latent_views = 0")
        if self.penalty_every < 1:
            raise ValueError(f"penalty_every must be at least 1, not {self.penalty_every}")

    def wants(self, row: Row) -> bool:
        """Return whether a picture is one to learn from, or to be tried on."""
        return not self.groups or row.group in self.groups
