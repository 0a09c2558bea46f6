"""Prompts ask for what their group promises, evenly over the looks."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from generation.assessment.prompts import Group, choose
from generation.dataset.stored import Dataset, DatasetError, Split

COUNTS = {
    Group.KNOWN_PAIRS: 15,
    Group.UNSEEN_PAIRS: 100,
    Group.UNSEEN_CONCEPTS: 3,
    Group.OTHER_WORDINGS: 9,
}
SPLITS = {
    Group.KNOWN_PAIRS: Split.TRAIN,
    Group.UNSEEN_PAIRS: Split.UNSEEN_PAIR,
    Group.UNSEEN_CONCEPTS: Split.UNSEEN_CONCEPT,
    Group.OTHER_WORDINGS: Split.TRAIN,
}


def chance(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_each_group_asks_for_its_own_split_and_no_row_is_asked_for_twice(dataset: Dataset) -> None:
    prompts = choose(dataset, COUNTS, chance())
    assert all(dataset.rows[each.row].split is SPLITS[each.group] for each in prompts)
    assert len({each.row for each in prompts}) == len(prompts)
    having = len(dataset.numbers_of([Split.UNSEEN_PAIR]))
    found = Counter(each.group for each in prompts)
    assert found == {**COUNTS, Group.UNSEEN_PAIRS: having}


def test_known_pairs_are_spread_evenly_over_the_looks(dataset: Dataset) -> None:
    prompts = choose(dataset, COUNTS, chance())
    looks = Counter(
        dataset.rows[each.row].look for each in prompts if each.group is Group.KNOWN_PAIRS
    )
    assert looks == dict.fromkeys(dataset.looks, 5)


def test_every_prompt_names_its_look_and_other_wordings_use_the_last_one(dataset: Dataset) -> None:
    for prompt in choose(dataset, COUNTS, chance()):
        row = dataset.rows[prompt.row]
        place = -1 if prompt.group is Group.OTHER_WORDINGS else 0
        assert prompt.text == f"{row.phrasings[place]}, {row.look} style"


def test_same_lots_choose_the_same_prompts(dataset: Dataset) -> None:
    assert choose(dataset, COUNTS, chance()) == choose(dataset, COUNTS, chance())
    assert choose(dataset, COUNTS, chance()) != choose(dataset, COUNTS, chance(1))


def test_a_dataset_without_pictures_to_ask_for_says_what_to_do(dataset: Dataset) -> None:
    alone = dataclasses.replace(dataset, rows=dataset.rows[:1])
    with pytest.raises(DatasetError, match="atelier data build"):
        choose(alone, COUNTS, chance())
