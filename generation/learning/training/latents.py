"""Latents of the training pictures, as they are and changed by chance, computed once."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderTiny
from torch import Tensor

from generation.learning.dataset import augment
from generation.learning.dataset.augment import Augmentation
from generation.learning.dataset.stored import Dataset
from generation.learning.recipes.work import Work
from generation.learning.training import kept
from generation.learning.training.run import generator_at
from generation.work import manifest
from generation.work.progress import Progress

ROWS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Latents:
    """Encoded pictures.

    Attributes:
        rows: Row numbers of the dataset.
        additions: What each view adds to the caption, such as "on a blue background"; number into
            `words`, int64 (rows, views).
        words: The first is the empty text.
        values: float16 (rows, views, channels, height, width), memory-mapped.
    """

    rows: npt.NDArray[np.int64]
    additions: npt.NDArray[np.int64]
    words: tuple[str, ...]
    values: npt.NDArray[np.float16]

    @property
    def views(self) -> int:
        """How many variants there are of each picture; the first is the picture as it is."""
        return int(self.values.shape[1])

    def at(self, positions: Tensor, views: Tensor) -> Tensor:
        """Return latents by position in `rows` and by view, float32 (n, channels, height, width)."""
        chosen = self.values[positions.numpy(), views.numpy()]
        return torch.from_numpy(chosen.astype(np.float32))

    def draw(self, positions: Tensor, generator: torch.Generator) -> tuple[Tensor, list[str]]:
        """Return a view of each by lot, as `at`, and what it adds to the caption."""
        views = torch.randint(self.views, (len(positions),), generator=generator)
        additions = self.additions[positions.numpy(), views.numpy()].tolist()
        return self.at(positions, views), [self.words[number] for number in additions]


def load_vae(work: Work) -> tuple[AutoencoderTiny, Mapping[str, Any]]:
    """Return the trained autoencoder in float32 for evaluation, and its manifest.

    Its latents have unit variance already.

    Raises:
        CheckpointMissing: It was not trained yet, or is damaged.
    """
    folder = work.checkpoint("vae")
    note = manifest.read(folder, "vae")
    vae = AutoencoderTiny.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    return vae.eval().requires_grad_(requires_grad=False), note


def prepare(
    folder: Path,
    vae: AutoencoderTiny,
    vae_identity: object,
    dataset: Dataset,
    rows: npt.NDArray[np.int64],
    side_px: int,
    views: int,
    augmentation: Augmentation,
    device: torch.device,
    report: Progress,
) -> Latents:
    """Encode every picture `views` times; later runs read what is on disk.

    Drawings change little from one pass to the next, so a few stored views of each serve as well as
    new ones for every batch, and the encoder leaves the training loop.

    Args:
        folder: Keeps the latents.
        vae: Stays on the device.
        vae_identity: Plain JSON that changes with its weights.
        rows: Row numbers to encode.
        views: The first is the picture on white, the others are augmented.
    """
    vae.to(device)
    words = ("", *map(augment.background_words, augmentation.colours))
    number_of = {text: number for number, text in enumerate(words)}
    first = _encode(vae, augment.plain(dataset, torch.from_numpy(rows[:1]), side_px, device))
    # One record holds both, so that a killed run leaves neither without the other.
    record = np.dtype([("values", np.float16, first.shape[1:]), ("additions", np.int16)])

    def compute(start: int, stop: int) -> npt.NDArray[np.void]:
        part = torch.from_numpy(rows[start:stop])
        records = np.empty((stop - start, views), record)
        for view in range(views):
            if view == 0:
                pictures, added = augment.plain(dataset, part, side_px, device), [""] * len(part)
            else:
                generator = generator_at(view, start)
                pictures, added = augment.varied(
                    dataset, part, side_px, augmentation, generator, device
                )
            records["values"][:, view] = _encode(vae, pictures)
            records["additions"][:, view] = [number_of[text] for text in added]
        return records

    identity = [
        vae_identity,
        dataset.fingerprint,
        rows.tolist(),
        side_px,
        dataclasses.asdict(augmentation),
    ]
    shape = (len(rows), views)
    records: npt.NDArray[Any] = kept.array(
        folder, "latents", identity, shape, record, compute, ROWS_AT_ONCE, report
    )
    additions = records["additions"].astype(np.int64)
    return Latents(rows, additions, words, records["values"])


@torch.no_grad()
def _encode(vae: AutoencoderTiny, pictures: Tensor) -> npt.NDArray[np.float16]:
    encoded: Tensor = vae.encode(pictures).latents
    return encoded.cpu().numpy().astype(np.float16)
