"""Word states of captions, exactly as the drawing pipeline will produce them, computed once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from generation.language import text_encoder
from generation.language.templates import styled
from generation.learning.dataset.stored import Dataset, Row
from generation.learning.training import kept
from generation.learning.training.latents import Latents
from generation.work.progress import Progress

TEXTS_AT_ONCE = 64
FEATURES = 384
PLAINEST = 2
PLAIN_SHARE = 0.55
"""Share of captions that are just the concept's name, with or without an article."""
EMPTY = 0
"""Number of the empty prompt among the captions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """How pictures are put into words while training.

    Attributes:
        phrasings: Most ways of asking for one picture. The states of a text take 24 KB: all its
            tokens, padding too, because the pipeline shows the denoiser padding. 17,000 pictures
            with 2 phrasings each, further backgrounds and no look take less than 2 GB.
        dropout: Share of captions replaced by the empty prompt, which guidance needs.
        unstyled: Share of captions that name no look.
    """

    phrasings: int = 12
    dropout: float = 0.12
    unstyled: float = 0.06

    def __post_init__(self) -> None:
        if self.phrasings < 1:
            raise ValueError("phrasings must be 1 or more")
        if min(self.dropout, self.unstyled) < 0 or self.dropout + self.unstyled > 1:
            raise ValueError("dropout and unstyled must be shares of one whole")


@dataclass(frozen=True, slots=True)
class Captions:
    """The captions of every picture and view.

    Attributes:
        states: float16 (captions, tokens, features), memory-mapped; the first is the empty prompt.
        styled: Numbers of the captions that name the look, int64 (rows, views, phrasings).
        unstyled: The same for those that do not.
    """

    states: npt.NDArray[np.float16]
    styled: npt.NDArray[np.int64]
    unstyled: npt.NDArray[np.int64]

    def at(self, numbers: Tensor) -> Tensor:
        """Return states by caption number, float16 (n, tokens, features)."""
        return torch.from_numpy(self.states[numbers.numpy()])


def prepare(
    folder: Path,
    dataset: Dataset,
    latents: Latents,
    wording: Wording,
    device: torch.device,
    report: Progress,
) -> Captions:
    """Encode every caption once; later runs read what is on disk.

    Args:
        folder: Keeps the states.
        latents: Says what the captions of its views must mention.
    """
    texts: dict[str, int] = {"": EMPTY}
    shape = (len(latents.rows), latents.views, wording.phrasings)
    named, unnamed = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for position, number in enumerate(latents.rows.tolist()):
        row = dataset.rows[number]
        options = phrasings_of(row, wording.phrasings, number)
        for view, addition in enumerate(latents.additions[position].tolist()):
            words = latents.words[addition]
            # A view with words of its own has one phrasing, another in each view: see `Wording`.
            chosen = [f"{options[view % len(options)]} {words}"] if words else options
            with_look = [styled(text, row.look, dataset.template) for text in chosen]
            without = with_look if words else chosen
            for store, wanted in ((named, with_look), (unnamed, without)):
                numbers = [texts.setdefault(text, len(texts)) for text in wanted]
                store[position, view] = np.resize(numbers, wording.phrasings)
    return Captions(encode_once(folder, list(texts), device, report), named, unnamed)


def phrasings_of(row: Row, limit: int, turn: int) -> list[str]:
    """Return the plainest phrasings of a picture, and others in turn.

    With few of them, each look of a thing gets to hear other ones, so the model hears them all.

    Args:
        turn: Number of the picture.
    """
    plainest, others = list(row.phrasings[:PLAINEST]), row.phrasings[PLAINEST:]
    chosen = plainest[:limit]
    for place in range(min(limit - len(chosen), len(others))):
        chosen.append(others[(turn + place) % len(others)])
    return chosen


def encode_once(
    folder: Path, texts: Sequence[str], device: torch.device, report: Progress
) -> npt.NDArray[np.float16]:
    """Return the word states of texts from disk, encoding those that are not there yet."""
    encoder: Encoder | None = None

    def compute(start: int, stop: int) -> npt.NDArray[np.float16]:
        nonlocal encoder
        encoder = encoder or Encoder(device)
        return encoder(texts[start:stop]).cpu().numpy()

    identity = [list(texts), text_encoder.SHA256]
    shape = (len(texts), text_encoder.MODEL_MAX_LENGTH, FEATURES)
    states: npt.NDArray[np.float16] = kept.array(
        folder, "captions", identity, shape, np.float16, compute, TEXTS_AT_ONCE, report
    )
    return states


class Encoder:
    """Computes word states the way `StableDiffusionPipeline.encode_prompt` does."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        model, self._tokenizer = text_encoder.load_text_encoder()
        self._model = model.to(device)

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return float16 (texts, tokens, features)."""
        tokens = self._tokenizer(
            list(texts),
            padding="max_length",
            max_length=self._tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        ).to(self._device)
        states: Tensor = self._model(tokens.input_ids, attention_mask=tokens.attention_mask)[0]
        return states.half()


def choose(
    captions: Captions,
    wording: Wording,
    positions: Tensor,
    views: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Pick a caption for each picture: usually plain words and a look, sometimes none at all.

    Args:
        positions: Positions in the latents' rows, int64 (n,).
        views: Which view of each.

    Returns:
        Numbers of captions, int64 (n,).
    """
    count = captions.styled.shape[2]
    drop, kind, which = torch.rand((len(positions), 3), generator=generator).unbind(1)
    options = torch.where(kind < PLAIN_SHARE, min(PLAINEST, count), count)
    phrasing = (which * options).long()
    index = (positions.numpy(), views.numpy(), phrasing.numpy())
    named = torch.from_numpy(captions.styled[index])
    unnamed = torch.from_numpy(captions.unstyled[index])
    chosen = torch.where(drop < wording.dropout + wording.unstyled, unnamed, named)
    return torch.where(drop < wording.dropout, EMPTY, chosen)
