"""Which captions are true of which pictures, and the loss that draws true pairs together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from generation.language import sentences, text_encoder
from generation.language.templates import styled
from generation.learning.dataset.augment import Augmentation, background_words
from generation.learning.dataset.stored import Dataset, Row
from generation.learning.training import kept
from generation.work.progress import Progress

NO_LOOK = -1
TEXTS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Claims:
    """What captions say, or what pictures show, as numbers.

    Attributes:
        concepts, looks, backgrounds: int64 (n,); a caption's look may be `NO_LOOK`.
    """

    concepts: Tensor
    looks: Tensor
    backgrounds: Tensor

    def is_true_of(self, pictures: "Claims") -> Tensor:
        """Return for every caption of which pictures it is true, bool (captions, pictures).

        A caption that names no look is true of its concept in every look: those pictures are not
        its negatives.
        """
        concepts = self.concepts[:, None] == pictures.concepts
        looks = (self.looks[:, None] == NO_LOOK) | (self.looks[:, None] == pictures.looks)
        return concepts & looks & (self.backgrounds[:, None] == pictures.backgrounds)


def contrastive_loss(similarities: Tensor, is_true: Tensor) -> Tensor:
    """Return how far true pairs are from winning, both ways, with several true answers each.

    Source: InfoNCE both ways as in Radford et al., CLIP, arXiv 2103.00020, figure 3; several
    positives summed inside the logarithm as in Miech et al., MIL-NCE, arXiv 1912.06430, equation 1.

    Args:
        similarities: Logits, float32 (captions, pictures).
        is_true: Bool of the same shape; at least one in every row and column.
    """
    true_only = similarities.masked_fill(~is_true, -torch.inf)
    losses = [similarities.logsumexp(way) - true_only.logsumexp(way) for way in (0, 1)]
    return (losses[0].mean() + losses[1].mean()) / 2


class Captions:
    """The caption of every picture in every wording, with cached sentence states.

    Args:
        augmentation: Which backgrounds may have to be named.
        phrasings: Most wordings of one picture.
        folder: Keeps the states.
        device: Where the states are used.
    """

    def __init__(
        self,
        dataset: Dataset,
        augmentation: Augmentation,
        phrasings: int,
        folder: Path,
        device: torch.device,
        report: Progress,
    ) -> None:
        self._dataset, self._phrasings = dataset, phrasings
        colours = augmentation.colours if augmentation.background else ()
        backgrounds = ("", *map(background_words, colours))
        texts = dict.fromkeys(
            text
            for row in dataset.rows
            for words in backgrounds
            for prompt in self._prompts(row, words)
            for text in (prompt, styled(prompt, row.look, dataset.template))
        )
        self._number_of = {text: number for number, text in enumerate(texts)}
        self.states = torch.from_numpy(_states(list(texts), folder, device, report)).to(device)
        self._background_of = {words: number for number, words in enumerate(backgrounds)}
        concept_of = {concept: number for number, concept in enumerate(dataset.concepts)}
        self._concepts = torch.tensor([concept_of[row.concept] for row in dataset.rows])
        self.looks = torch.tensor([dataset.looks.index(row.look) for row in dataset.rows])
        self._is_hidden = torch.zeros(len(concept_of), len(dataset.looks), dtype=torch.bool)
        for row, concept, look in zip(dataset.rows, self._concepts, self.looks, strict=True):
            self._is_hidden[concept, look] |= row.is_unseen_by_scorer

    def _prompts(self, row: Row, words: str) -> Iterator[str]:
        """Yield the ways to ask for a picture; with a background only the plainest."""
        if words:
            yield f"{row.phrasings[0]} {words}"
        else:
            yield from row.phrasings[: self._phrasings]

    def shown(self, rows: Tensor, words: Sequence[str]) -> Claims:
        """Return what pictures show.

        Args:
            rows: Row numbers, int64 (n,).
            words: Of their backgrounds, see `varied`.
        """
        backgrounds = torch.tensor([self._background_of[each] for each in words])
        return Claims(self._concepts[rows], self.looks[rows], backgrounds)

    def choose(
        self, rows: Tensor, words: Sequence[str], lookless: float, generator: torch.Generator
    ) -> tuple[Tensor, Claims]:
        """Choose a caption for each picture.

        Args:
            rows: Row numbers, int64 (n,).
            words: Of their backgrounds, see `varied`.
            lookless: Share of captions that name no look.

        Returns:
            Sentence states (n, 384), and what the captions say.
        """
        chance = torch.rand(len(rows), 2, generator=generator)
        is_lookless = chance[:, 0] < lookless
        numbers = []
        for row_number, each, bare, which in zip(
            rows.tolist(), words, is_lookless.tolist(), chance[:, 1].tolist(), strict=True
        ):
            row = self._dataset.rows[row_number]
            prompts = tuple(self._prompts(row, each))
            prompt = prompts[int(which * len(prompts))]
            text = prompt if bare else styled(prompt, row.look, self._dataset.template)
            numbers.append(self._number_of[text])
        shown = self.shown(rows, words)
        looks = torch.where(is_lookless, NO_LOOK, shown.looks)
        return self.states[numbers], Claims(shown.concepts, looks, shown.backgrounds)

    def look_loss(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Return the cross-entropy of pictures' looks.

        Looks in which the scorer must not see a concept are no wrong answers for its other
        pictures: it would learn that the fox does not exist in noto because that fox is held back.

        Args:
            logits: float32 (n, looks).
            rows: Row numbers, int64 (n,).
        """
        own = self.looks[rows]
        is_no_answer = self._is_hidden[self._concepts[rows]]
        is_no_answer[torch.arange(len(rows)), own] = False
        possible = logits.masked_fill(is_no_answer.to(logits.device), -torch.inf)
        return functional.cross_entropy(possible, own.to(logits.device))

    def plain_states(self, rows: Tensor) -> Tensor:
        """Return the states of the plainest caption that names the look, (n, 384)."""
        texts = (plain_caption(self._dataset, row) for row in rows.tolist())
        return self.states[[self._number_of[text] for text in texts]]


def plain_caption(dataset: Dataset, row: int) -> str:
    """Return a picture's plainest caption that names its look."""
    chosen = dataset.rows[row]
    return styled(chosen.phrasings[0], chosen.look, dataset.template)


def _states(
    texts: Sequence[str], folder: Path, device: torch.device, report: Progress
) -> npt.NDArray[Any]:
    """Return the sentence states of texts, encoding those that are not in the folder yet."""

    def compute(start: int, stop: int) -> npt.NDArray[Any]:
        states: npt.NDArray[Any] = sentences.encode(texts[start:stop], device).cpu().numpy()
        return states

    identity = [list(texts), text_encoder.SHA256]
    shape = (len(texts), sentences.SIZE)
    return np.array(
        kept.array(folder, "sentences", identity, shape, np.float32, compute, TEXTS_AT_ONCE, report)
    )
