"""The scorer's network: pictures and captions in one space, and which look a picture has."""

import math
from collections.abc import Sequence

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional

from generation.language import sentences

CHANNELS_PER_GROUP = 8
FIRST_SCALE, HIGHEST_SCALE = 1 / 0.07, 100.0  # CLIP's
STYLE_STAGES, LOOK_HIDDEN = 2, 64


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_convolution(width, width), *_convolution(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> tuple[nn.Module, ...]:
    """Return a convolution that keeps no running statistics."""
    return (
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(outputs // CHANNELS_PER_GROUP, outputs),
        nn.SiLU(),
    )


class _LookHead(nn.Module):
    """Tells looks apart by the statistics of fine maps, which do not know what is shown.

    With everything to look at, a few hundred pictures are told apart by heart, concept by concept.

    Args:
        size: Of the statistics, the last of the features.
    """

    def __init__(self, size: int, looks: int) -> None:
        super().__init__()
        self.size = size
        self.layers = nn.Sequential(
            nn.Linear(size, LOOK_HIDDEN), nn.SiLU(), nn.Linear(LOOK_HIDDEN, looks)
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features[:, -self.size :])


class Scorer(ModelMixin, ConfigMixin):
    """Pictures and captions in one space, and which look a picture has.

    A picture's features are the mean of the coarsest map, which tells what it shows, and the mean
    and deviation of the channels of the finest maps, which tell how it is drawn.

    The text side is the frozen shipped sentence encoder, which is not part of the weights, and a
    learned projection. Pictures are float, (n, 3, height, width) in [-1, 1].

    Args:
        looks: What `look_logits` tells apart, in this order.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        side_px: int = 64,
        widths: Sequence[int] = (32, 64, 128, 192),
        blocks: int = 1,
        embedding_size: int = 128,
        looks: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.side_px, self.looks = side_px, tuple(looks)
        style_size = 2 * sum(widths[:STYLE_STAGES])
        self.feature_size = widths[-1] + style_size
        self.trunk = nn.ModuleList(
            nn.Sequential(
                *_convolution(before, width, stride=2), *(_Residual(width) for _ in range(blocks))
            )
            for before, width in zip((3, *widths), widths, strict=False)
        )
        self.picture_head = nn.Linear(self.feature_size, embedding_size)
        self.text_head = nn.Linear(sentences.SIZE, embedding_size)
        self.look_head = _LookHead(style_size, len(looks))
        self.log_scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE)))

    @property
    def logit_scale(self) -> Tensor:
        """What cosines are multiplied by to be logits, float32."""
        return self.log_scale.float().exp().clamp(max=HIGHEST_SCALE)

    def stages(self, pictures: Tensor) -> list[Tensor]:
        """Return the maps after each stage, fine to coarse, at the pictures' own size."""
        maps = []
        x = pictures.to(self.dtype)
        for stage in self.trunk:
            x = stage(x)
            maps.append(x)
        return maps

    def features(self, pictures: Tensor) -> Tensor:
        """Return what the metrics compare, float32 (n, feature size)."""
        side = (self.side_px, self.side_px)
        if pictures.shape[-2:] != side:
            pictures = functional.interpolate(
                pictures.float(), side, mode="bilinear", antialias=True
            )
        maps = [each.float() for each in self.stages(pictures)]
        means = [each.mean((2, 3)) for each in (maps[-1], *maps[:STYLE_STAGES])]
        deviations = [each.std((2, 3)) for each in maps[:STYLE_STAGES]]
        return torch.cat([*means, *deviations], 1)

    def embed_features(self, features: Tensor) -> Tensor:
        """Return unit vectors of pictures, float32 (n, embedding size)."""
        return functional.normalize(self.picture_head(features.to(self.dtype)).float(), dim=1)

    def embed_pictures(self, pictures: Tensor) -> Tensor:
        """Return unit vectors, float32 (n, embedding size)."""
        return self.embed_features(self.features(pictures))

    def embed_sentences(self, states: Tensor) -> Tensor:
        """Return unit vectors for sentence states (n, 384), float32 (n, embedding size)."""
        return functional.normalize(self.text_head(states.to(self.dtype)).float(), dim=1)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Return unit vectors of captions, float32 (n, embedding size)."""
        return self.embed_sentences(sentences.encode(texts, self.device))

    def look_logits(self, pictures: Tensor) -> Tensor:
        """Return how much each picture looks like each of `looks`, float32 (n, looks)."""
        return self.look_head(self.features(pictures).to(self.dtype)).float()

    def forward(self, pictures: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of captions against pictures, and of looks, from one pass."""
        features = self.features(pictures)
        similarities = self.embed_sentences(states) @ self.embed_features(features).T
        looks = self.look_head(features.to(self.dtype)).float()
        return self.logit_scale * similarities, looks
