"""Word states of every caption, exactly as the drawing pipeline will produce them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from generation.text_encoder import load_text_encoder
from generation.training.captions import styled
from generation.training.dataset import Dataset
from generation.training.recipe import Recipe
from generation.training.sources import Progress

STATES = "states.npy"
TEXTS = "states.json"
ENCODE_BATCH = 64
PLAIN_PHRASINGS = 2
PLAIN_SHARE = 0.55
"""Share of captions that are just the concept's name, with or without an article."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """Captions and their states.

    Attributes:
        states: float16 of shape (captions, tokens, features); caption 0 is the empty prompt.
        styled_of: For every dataset row, the captions that name its look.
        plain_of: For every dataset row, the captions that name none.
    """

    states: Tensor
    styled_of: tuple[tuple[int, ...], ...]
    plain_of: tuple[tuple[int, ...], ...]


def prepare(directory: Path, recipe: Recipe, dataset: Dataset, report: Progress) -> Conditions:
    """Encode every caption once; later runs read the cached states.

    Args:
        directory: Keeps the states.
    """
    wording = recipe.captions
    texts: dict[str, int] = {"": 0}

    def number_of(text: str) -> int:
        return texts.setdefault(text, len(texts))

    plain = {
        concept: tuple(number_of(text) for text in phrasings)
        for concept, phrasings in dataset.phrasings.items()
    }
    looks = {
        (row.concept, row.look): tuple(
            number_of(styled(text, row.look, wording.template))
            for text in dataset.phrasings[row.concept]
        )
        for row in dataset.rows
    }
    return Conditions(
        states=_states(directory, list(texts), report),
        styled_of=tuple(looks[row.concept, row.look] for row in dataset.rows),
        plain_of=tuple(plain[row.concept] for row in dataset.rows),
    )


def _states(directory: Path, texts: Sequence[str], report: Progress) -> Tensor:
    cache, index = directory / STATES, directory / TEXTS
    if index.exists() and json.loads(index.read_text(encoding="utf-8")) == texts:
        return torch.from_numpy(np.load(cache))
    states = encode_texts(texts, report)
    np.save(cache, states.numpy())
    index.write_text(json.dumps(texts), encoding="utf-8")
    return states


@torch.no_grad()
def encode_texts(texts: Sequence[str], report: Progress) -> Tensor:
    """Return word states the way `StableDiffusionPipeline.encode_prompt` computes them.

    Returns:
        float16 of shape (texts, tokens, features).
    """
    text_encoder, tokenizer = load_text_encoder()
    parts = []
    for start in range(0, len(texts), ENCODE_BATCH):
        batch = list(texts[start : start + ENCODE_BATCH])
        tokens = tokenizer(
            batch,
            padding="max_length",
            max_length=tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        states = text_encoder(tokens.input_ids, attention_mask=tokens.attention_mask)[0]
        parts.append(states.half())
        report("caption", start + len(batch), len(texts))
    return torch.cat(parts)


def choose(
    conditions: Conditions, recipe: Recipe, rows: Sequence[int], generator: torch.Generator
) -> Tensor:
    """Pick a caption for each row: usually plain words and a look, sometimes none at all.

    Args:
        rows: Dataset rows of one batch.

    Returns:
        int64 of shape (rows,), indices into `conditions.states`.
    """
    wording = recipe.captions
    chances = torch.rand((len(rows), 3), generator=generator).tolist()
    chosen = []
    for row, (drop, kind, which) in zip(rows, chances, strict=True):
        if drop < wording.dropout:
            chosen.append(0)
            continue
        is_unstyled = drop < wording.dropout + wording.unstyled
        options = (conditions.plain_of if is_unstyled else conditions.styled_of)[row]
        if kind < PLAIN_SHARE:
            options = options[:PLAIN_PHRASINGS]
        chosen.append(options[int(which * len(options))])
    return torch.tensor(chosen)
