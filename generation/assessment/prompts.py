"""Choose what a checkpoint is asked to draw."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from generation.dataset.captions import styled
from generation.dataset.stored import Dataset, DatasetError, Row, Split


class Group(StrEnum):
    """How much of a prompt the checkpoint was taught."""

    KNOWN_PAIRS = "known pairs"  # this thing in this look was a training picture
    UNSEEN_PAIRS = "unseen pairs"  # thing and look are known, but not together
    UNSEEN_CONCEPTS = "unseen concepts"  # the thing is in no training picture
    OTHER_WORDINGS = "other wordings"  # a training picture, asked for by its last phrasing


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
    dataset: Dataset, counts: Mapping[Group, int], generator: np.random.Generator
) -> tuple[Prompt, ...]:
    """Choose prompts by lot, evenly over the looks; no row twice.

    Args:
        counts: Most prompts of each group.

    Raises:
        DatasetError: The dataset has fewer than two pictures to ask for.
    """
    waiting = generator.permutation(len(dataset.rows)).tolist()
    prompts: list[Prompt] = []
    for group in Group:
        fitting = [number for number in waiting if _fits(dataset.rows[number], group)]
        chosen = _spread_over_looks(dataset, fitting)[: counts[group]]
        waiting = [number for number in waiting if number not in set(chosen)]
        prompts += [Prompt(number, _text(dataset, number, group), group) for number in chosen]
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


def _spread_over_looks(dataset: Dataset, numbers: Sequence[int]) -> list[int]:
    """Order row numbers: the first of each look, then the second of each, and on."""
    seen: Counter[str] = Counter()
    places = []
    for number in numbers:
        look = dataset.rows[number].look
        places.append((seen[look], number))
        seen[look] += 1
    return [number for _, number in sorted(places, key=lambda place: place[0])]


def _fits(row: Row, group: Group) -> bool:
    if group is Group.OTHER_WORDINGS:
        return row.split is Split.TRAIN and len(row.phrasings) > 1
    splits = {
        Group.KNOWN_PAIRS: Split.TRAIN,
        Group.UNSEEN_PAIRS: Split.UNSEEN_PAIR,
        Group.UNSEEN_CONCEPTS: Split.UNSEEN_CONCEPT,
    }
    return row.split is splits[group]


def _text(dataset: Dataset, number: int, group: Group) -> str:
    if group is not Group.OTHER_WORDINGS:
        return caption(dataset, number)
    row = dataset.rows[number]
    return styled(row.phrasings[-1], row.look, dataset.template)
