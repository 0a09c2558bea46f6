"""How to train the autoencoder, as a preset's `vae.toml` says it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from generation.learning.dataset.augment import Augmentation
from generation.learning.training.discriminator import Critic
from generation.learning.training.optimizers import Optimizer, Schedule
from generation.learning.training.run import Run

TERMS = ("pixels", "edges", "kl", "perceptual", "adversarial")


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
