"""Choose what a checkpoint is asked to draw."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from generation.language.templates import styled
from generation.learning.dataset.stored import Dataset, DatasetError, Split


class Group(StrEnum):
    """How much of a prompt the checkpoint was taught."""

    KNOWN_PAIRS = "known pairs"  # this thing in this look was a training picture
    UNSEEN_PAIRS = "unseen pairs"  # thing and look are known, but not together
    UNSEEN_CONCEPTS = "unseen concepts"  # the thing is in no training picture
    EVERYDAY = "everyday words"  # a training picture, asked for in words of no caption


SPLITS = {
    Group.KNOWN_PAIRS: Split.TRAIN,
    Group.UNSEEN_PAIRS: Split.UNSEEN_PAIR,
    Group.UNSEEN_CONCEPTS: Split.UNSEEN_CONCEPT,
}


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request, and the picture of the dataset that would answer it.

    Attributes:
        row: Number of that picture's row.
        text: What is asked for, the look named.
    """

    row: int
    text: str
    group: Group


def choose(
    dataset: Dataset,
    counts: Mapping[Group, int],
    everyday: Mapping[str, str],
    generator: np.random.Generator,
    kinds: Collection[str] = (),
) -> tuple[Prompt, ...]:
    """Choose prompts by lot, evenly over the looks; no row twice.

    Args:
        counts: Most prompts of each group.
        everyday: Words of no caption and the concept that they mean, see `untaught`.
        kinds: Kinds of things to ask for, such as `food and drink`; empty for all.

    Raises:
        DatasetError: The dataset has fewer than two pictures to ask for.
    """
    waiting = [
        number
        for number in generator.permutation(len(dataset.rows)).tolist()
        if not kinds or dataset.rows[number].group in kinds
    ]
    words = [list(everyday.items())[i] for i in generator.permutation(len(everyday))]
    in_other_words = _in_everyday_words(dataset, words[: counts[Group.EVERYDAY]], waiting)
    waiting = [number for number in waiting if number not in {each.row for each in in_other_words}]
    prompts: list[Prompt] = []
    for group, split in SPLITS.items():
        fitting = [number for number in waiting if dataset.rows[number].split is split]
        chosen = _spread_over_looks(dataset, fitting)[: counts[group]]
        waiting = [number for number in waiting if number not in set(chosen)]
        prompts += [Prompt(number, caption(dataset, number), group) for number in chosen]
    prompts += in_other_words
    if len(prompts) < 2:
        raise DatasetError(
            "the dataset has too few pictures to assess a checkpoint with; add pictures to its"
            " sources and run `atelier data build` again"
        )
    return tuple(prompts)


def caption(dataset: Dataset, number: int) -> str:
    """Return a row's plainest caption, the look named."""
    row = dataset.rows[number]
    return styled(row.phrasings[0], row.look, dataset.template)


def untaught(
    dataset: Dataset, everyday: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Part everyday words into those that no caption has, and others with the reason.

    Args:
        everyday: Words to the concept that they mean.
    """
    taught = {text.lower() for row in dataset.rows for text in row.phrasings}
    concepts = {row.concept for row in dataset.rows if row.split is Split.TRAIN}
    left_out = {
        words: f"the dataset has no training picture of {concept!r}"
        if concept not in concepts
        else "it is a caption of the dataset"
        for words, concept in everyday.items()
        if concept not in concepts or words.lower() in taught
    }
    kept = {words: concept for words, concept in everyday.items() if words not in left_out}
    return kept, left_out


def _in_everyday_words(
    dataset: Dataset, words: Sequence[tuple[str, str]], waiting: Sequence[int]
) -> list[Prompt]:
    """Ask for a training picture of each concept, in the look that was asked for least so far."""
    free: dict[str, list[int]] = {}
    for number in waiting:
        if dataset.rows[number].split is Split.TRAIN:
            free.setdefault(dataset.rows[number].concept, []).append(number)
    asked: Counter[str] = Counter()
    prompts = []
    for text, concept in words:
        if numbers := free.get(concept):
            chosen = min(numbers, key=lambda number: asked[dataset.rows[number].look])
            numbers.remove(chosen)
            look = dataset.rows[chosen].look
            asked[look] += 1
            prompts.append(Prompt(chosen, styled(text, look, dataset.template), Group.EVERYDAY))
    return prompts


def _spread_over_looks(dataset: Dataset, numbers: Sequence[int]) -> list[int]:
    """Order row numbers: the first of each look, then the second of each, and on."""
    seen: Counter[str] = Counter()
    places = []
    for number in numbers:
        look = dataset.rows[number].look
        places.append((seen[look], number))
        seen[look] += 1
    return [number for _, number in sorted(places, key=lambda place: place[0])]
