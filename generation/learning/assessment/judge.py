"""Look at pictures through the scorer: features, meaning, look, and a small copy of the pixels."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from generation.judging.scorer.model import Scorer
from generation.learning.dataset import augment
from generation.learning.dataset.stored import Dataset
from generation.learning.metrics.distances import Features
from generation.work.progress import Progress

Pictures = npt.NDArray[np.uint8]
PIXELS_SIDE_PX = 32


@dataclass(frozen=True, slots=True)
class Judged:
    """What is known about some pictures, one row each.

    Attributes:
        features: The scorer's trunk, for everything that compares sets of pictures.
        meanings: Unit vectors beside those of captions.
        looks: Which look the scorer sees, as numbers of `Scorer.config.looks`.
        pixels: RGB in [0, 1] at 32 px, divided so that a distance is a root mean square.
    """

    features: Features
    meanings: Features
    looks: npt.NDArray[np.int64]
    pixels: Features

    def take(self, numbers: npt.NDArray[np.int64]) -> "Judged":
        """Return some of the pictures, in the given order."""
        columns = (getattr(self, field.name)[numbers] for field in dataclasses.fields(self))
        return Judged(*columns)


@dataclass(frozen=True, slots=True)
class Judge:
    """A scorer at work.

    Attributes:
        scorer: In evaluation mode, on its device.
        batch_size: Pictures or captions at a time.
    """

    scorer: Scorer
    batch_size: int

    @property
    def looks(self) -> tuple[str, ...]:
        """The looks it tells apart."""
        return self.scorer.looks

    def drawn(self, pictures: Pictures) -> Judged:
        """Judge drawn pictures, uint8 (n, height, width, 3)."""
        parts = [
            self._judge(to_tensor(pictures[start : start + self.batch_size]))
            for start in range(0, len(pictures), self.batch_size)
        ]
        return _join(parts)

    def real(self, dataset: Dataset, side_px: int, report: Progress) -> Judged:
        """Judge every picture of a dataset, on white, at the size that the checkpoint draws.

        Args:
            side_px: Real pictures pass through this size, so that sharpness tells nobody apart.
        """
        parts = []
        total = len(dataset.rows)
        for start in range(0, total, self.batch_size):
            rows = torch.arange(start, min(start + self.batch_size, total))
            parts.append(self._judge(real_pictures(dataset, rows, side_px)))
            report("judge the dataset", int(rows[-1]) + 1, total)
        return _join(parts)

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Features:
        """Return unit vectors of captions, shape (texts, features)."""
        parts = [
            _array(self.scorer.embed_texts(texts[start : start + self.batch_size]))
            for start in range(0, len(texts), self.batch_size)
        ]
        return np.concatenate(parts)

    def classes(self, meanings: Features, names: Features) -> Features:
        """Return how likely each picture shows each of some names, shape (pictures, names)."""
        logits = self.scorer.logit_scale.item() * meanings @ names.T
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        likely: Features = powers / powers.sum(axis=1, keepdims=True)
        return likely

    @torch.inference_mode()
    def _judge(self, pictures: Tensor) -> Judged:
        features = self.scorer.features(pictures.to(self.scorer.device))
        looks = self.scorer.look_head(features.to(self.scorer.dtype)).argmax(dim=1)
        small = resized(pictures, PIXELS_SIDE_PX).flatten(1)
        return Judged(
            features=_array(features),
            meanings=_array(self.scorer.embed_features(features)),
            looks=looks.cpu().numpy(),
            pixels=_array(small) / (2 * np.sqrt(small.shape[1])),
        )


def to_tensor(pictures: Pictures) -> Tensor:
    """Return uint8 (n, height, width, 3) as float32 (n, 3, height, width) in [-1, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def to_pictures(pictures: Tensor) -> Pictures:
    """Return [-1, 1] (n, 3, height, width) as uint8 (n, height, width, 3)."""
    levels = pictures.float().clamp(-1, 1).add(1).mul(127.5).round()
    return levels.byte().permute(0, 2, 3, 1).cpu().numpy()


def real_pictures(dataset: Dataset, rows: Tensor, side_px: int) -> Tensor:
    """Return real pictures at any size, from the smallest stored one that is large enough.

    Args:
        rows: Row numbers, int64 (n,).

    Returns:
        float32 (n, 3, side, side) in [-1, 1].
    """
    stored = min((each for each in dataset.sizes_px if each >= side_px), default=None)
    return resized(augment.plain(dataset, rows, stored or max(dataset.sizes_px)), side_px)


def resized(pictures: Tensor, side_px: int) -> Tensor:
    """Return pictures at another size, smoothed where it is smaller."""
    if pictures.shape[-2:] == (side_px, side_px):
        return pictures
    size = (side_px, side_px)
    return functional.interpolate(pictures, size, mode="bilinear", antialias=True)


def _join(parts: Sequence[Judged]) -> Judged:
    columns = (
        np.concatenate([getattr(part, field.name) for part in parts])
        for field in dataclasses.fields(Judged)
    )
    return Judged(*columns)


def _array(values: Tensor) -> Features:
    return values.double().cpu().numpy()
