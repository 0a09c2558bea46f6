"""The four small networks of the GAN: plain residual stacks without normalisation.

Source: Huang et al., The GAN is dead; long live the GAN! A Modern Baseline GAN, arXiv 2501.05441,
section 3.3: no normalisation layer, bilinear resampling, one residual stack for either side, the
last convolution of every residual branch starts at zero. Ours are smaller and not grouped.
"""

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

SENTENCE_DIM = 384
CHANNELS_PER_GROUP = 8
NOISE_SHARE = 0.25  # of the latent before training: words should count for more than chance
SLOPE = 0.2  # of the leaky ReLU; R3GAN's


def on_sphere(latents: Tensor) -> Tensor:
    """Scale each latent to root mean square 1, so that any blend of latents is one again.

    Args:
        latents: Shape (n, latent_dim).
    """
    return latents * torch.rsqrt(latents.square().mean(1, keepdim=True) + 1e-8)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels // CHANNELS_PER_GROUP, channels)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=1 / math.sqrt(inputs))
    nn.init.zeros_(layer.bias)
    return layer


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a straight connection; a latent may scale what is between.

    Args:
        latent_dim: Size of that latent; 0 for none.
        is_normalised: Whether each picture's states are normalised before the convolutions.
    """

    def __init__(self, channels: int, latent_dim: int = 0, *, is_normalised: bool = False) -> None:
        super().__init__()
        self.norm = _norm(channels) if is_normalised else nn.Identity()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        # A bias would only shift what the next block's bias shifts anyway.
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.scale = _linear(latent_dim, channels) if latent_dim else None
        nn.init.kaiming_normal_(self.first.weight, a=SLOPE)
        nn.init.zeros_(self.second.weight)

    def forward(self, states: Tensor, latents: Tensor | None = None) -> Tensor:
        """Return states of the same shape (n, channels, height, width)."""
        inner = self.first(F.leaky_relu(self.norm(states), SLOPE))
        if self.scale is not None and latents is not None:
            inner = inner * (1 + self.scale(latents))[:, :, None, None]
        return states + self.second(F.leaky_relu(inner, SLOPE))


class Stage(nn.Sequential):
    """Residual blocks of one size."""

    def __init__(
        self, blocks: int, channels: int, latent_dim: int = 0, *, is_normalised: bool
    ) -> None:
        super().__init__(
            *(
                ResidualBlock(channels, latent_dim, is_normalised=is_normalised)
                for _ in range(blocks)
            )
        )

    def forward(self, states: Tensor, latents: Tensor | None = None) -> Tensor:
        """Return states of the same shape (n, channels, height, width)."""
        for block in self:
            states = block(states, latents)
        return states


class Trunk(nn.Module):
    """Picture to features: patches, residual blocks, halvings.

    Args:
        side_px: Side of the pictures.
        patch_px: Side of the squares of pixels that become channels at once: convolutions at full
            size would cost most of the time and see the least.
        channels: Of every stage, the finest first; each next stage has half the side.
        blocks: Residual blocks of every stage.
        features: Size of the result.
        in_channels: Of the pictures; more than three if they are an autoencoder's latents.
    """

    def __init__(
        self,
        side_px: int,
        patch_px: int,
        channels: Sequence[int],
        blocks: Sequence[int],
        features: int,
        in_channels: int = 3,
        *,
        is_normalised: bool,
    ) -> None:
        super().__init__()
        self.patch_px = patch_px
        self.stem = nn.Conv2d(in_channels * patch_px**2, channels[0], 3, padding=1)
        self.stages = nn.ModuleList(
            Stage(count, width, is_normalised=is_normalised)
            for count, width in zip(blocks, channels, strict=True)
        )
        self.widen = nn.ModuleList(
            nn.Conv2d(narrow, wide, 1) for narrow, wide in itertools.pairwise(channels)
        )
        side = coarsest_side(side_px, patch_px, channels)
        self.norm = _norm(channels[-1]) if is_normalised else nn.Identity()
        self.head = _linear(channels[-1] * side**2, features)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return features (n, features) of pictures (n, in_channels, side, side)."""
        states = self.stem(F.pixel_unshuffle(pictures, self.patch_px))
        for number, stage in enumerate(self.stages):
            if number:
                # Halving bilinearly is the mean of four.
                states = F.avg_pool2d(self.widen[number - 1](states), 2)
            states = stage(states)
        return self.head(F.leaky_relu(self.norm(states), SLOPE).flatten(1))


def coarsest_side(side_px: int, patch_px: int, channels: Sequence[int]) -> int:
    """Return the side of the coarsest stage.

    Raises:
        ValueError: The picture cannot be halved that often.
    """
    step = patch_px * 2 ** (len(channels) - 1)
    if side_px % step:
        raise ValueError(f"side_px must be a multiple of {step}, not {side_px}")
    return side_px // step


class Condition(nn.Module):
    """Sentence and look to one vector.

    Args:
        looks: How many looks there are; one more row stands for "no look named".
    """

    def __init__(self, looks: int, features: int) -> None:
        super().__init__()
        self.sentence = _linear(SENTENCE_DIM, features)
        self.look = nn.Embedding(looks + 1, features)

    def forward(self, sentences: Tensor, looks: Tensor) -> Tensor:
        """Return (n, features).

        Args:
            sentences: Sentence states (n, 384).
            looks: Numbers of looks, int64 (n,); -1 names none.
        """
        named = self.sentence(on_sphere(sentences)) + self.look(looks + 1)
        return named / math.sqrt(2)


class Mapping(ModelMixin, ConfigMixin):
    """Noise, sentence and look to a latent on the sphere.

    Source: Karras et al., A Style-Based Generator, arXiv 1812.04948, section 2 (the mapping
    network); pictures are blended and crossbred in its result.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self, noise_dim: int = 32, latent_dim: int = 64, looks: int = 1, depth: int = 2
    ) -> None:
        super().__init__()
        self.noise = _linear(noise_dim, latent_dim)
        with torch.no_grad():
            self.noise.weight.mul_(NOISE_SHARE)
        self.condition = Condition(looks, latent_dim)
        self.layers = nn.ModuleList(_linear(latent_dim, latent_dim) for _ in range(depth))

    def forward(self, noise: Tensor, sentences: Tensor, looks: Tensor) -> Tensor:
        """Return latents (n, latent_dim).

        Args:
            noise: Standard normal (n, noise_dim).
        """
        latents = self.noise(noise) + self.condition(sentences, looks)
        for layer in self.layers:
            latents = layer(F.leaky_relu(latents, SLOPE)) * math.sqrt(2)
        return on_sphere(latents)


class Synthesis(ModelMixin, ConfigMixin):
    """Latent to picture: the trunk turned round, with the latent scaling every block."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        side_px: int = 64,
        patch_px: int = 2,
        latent_dim: int = 64,
        channels: Sequence[int] = (32, 64, 128, 160),
        blocks: Sequence[int] = (1, 1, 1, 1),
        out_channels: int = 3,
    ) -> None:
        super().__init__()
        self.patch_px = patch_px
        self.side = coarsest_side(side_px, patch_px, channels)
        self.channels = tuple(reversed(channels))
        self.start = _linear(latent_dim, self.channels[0] * self.side**2)
        self.stages = nn.ModuleList(
            Stage(count, width, latent_dim, is_normalised=True)
            for width, count in zip(self.channels, reversed(blocks), strict=True)
        )
        self.narrow = nn.ModuleList(
            nn.Conv2d(wide, narrow, 1) for wide, narrow in itertools.pairwise(self.channels)
        )
        self.norm = _norm(self.channels[-1])
        self.pixels = nn.Conv2d(self.channels[-1], out_channels * patch_px**2, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        """Return pictures (n, out_channels, side, side), if of three channels about [-1, 1]."""
        states = self.start(latents).view(-1, self.channels[0], self.side, self.side)
        states = states.contiguous(memory_format=torch.channels_last)
        for number, stage in enumerate(self.stages):
            if number:
                # A 1x1 convolution commutes with resampling and is cheaper before it.
                states = F.interpolate(
                    self.narrow[number - 1](states),
                    scale_factor=2,
                    mode="bilinear",
                    align_corners=False,
                )
            states = stage(states, latents)
        return F.pixel_shuffle(self.pixels(F.leaky_relu(self.norm(states), SLOPE)), self.patch_px)


class Encoder(ModelMixin, ConfigMixin):
    """Picture to the latent that draws it."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        side_px: int = 64,
        patch_px: int = 2,
        latent_dim: int = 64,
        channels: Sequence[int] = (32, 64, 128, 160),
        blocks: Sequence[int] = (1, 1, 1, 1),
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        shape = (side_px, patch_px, channels, blocks)
        self.trunk = Trunk(*shape, latent_dim, in_channels, is_normalised=True)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return latents (n, latent_dim) of pictures (n, in_channels, side, side)."""
        return on_sphere(self.trunk(pictures))


class Discriminator(nn.Module):
    """Picture, sentence and look to one score: the higher, the more it looks real and fitting.

    Source: Miyato and Koyama, cGANs with Projection Discriminator, arXiv 1802.05637, equation 4.
    """

    def __init__(
        self,
        side_px: int,
        patch_px: int,
        channels: Sequence[int],
        blocks: Sequence[int],
        features: int,
        looks: int,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        shape = (side_px, patch_px, channels, blocks)
        self.trunk = Trunk(*shape, features, in_channels, is_normalised=False)
        self.condition = Condition(looks, features)
        self.score = _linear(features, 1)

    def forward(self, pictures: Tensor, sentences: Tensor, looks: Tensor) -> Tensor:
        """Return scores (n,)."""
        features = F.leaky_relu(self.trunk(pictures), SLOPE)
        fitting = (features * self.condition(sentences, looks)).mean(1)
        return self.score(features)[:, 0] + fitting
