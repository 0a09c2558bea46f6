"""Prompts ask for what their group promises, evenly over the looks."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from generation.learning.assessment.prompts import SPLITS, Group, choose, untaught
from generation.learning.dataset.stored import Dataset, DatasetError, Split
from tests.unit.generation.learning.assessment.world import EVERYDAY

COUNTS = {
    Group.KNOWN_PAIRS: 15,
    Group.UNSEEN_PAIRS: 100,
    Group.UNSEEN_CONCEPTS: 3,
    Group.EVERYDAY: 5,
}


def chance(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_each_group_asks_for_its_own_split_and_no_row_is_asked_for_twice(dataset: Dataset) -> None:
    prompts = choose(dataset, COUNTS, EVERYDAY, chance())
    splits = {**SPLITS, Group.EVERYDAY: Split.TRAIN}
    assert all(dataset.rows[each.row].split is splits[each.group] for each in prompts)
    assert len({each.row for each in prompts}) == len(prompts)
    having = len(dataset.numbers_of([Split.UNSEEN_PAIR]))
    found = Counter(each.group for each in prompts)
    assert found == {**COUNTS, Group.UNSEEN_PAIRS: having}


def test_known_pairs_are_spread_evenly_over_the_looks(dataset: Dataset) -> None:
    prompts = choose(dataset, COUNTS, EVERYDAY, chance())
    looks = Counter(
        dataset.rows[each.row].look for each in prompts if each.group is Group.KNOWN_PAIRS
    )
    assert looks == dict.fromkeys(dataset.looks, 5)


def test_every_prompt_names_its_look_and_what_it_asks_for(dataset: Dataset) -> None:
    for prompt in choose(dataset, COUNTS, EVERYDAY, chance()):
        row = dataset.rows[prompt.row]
        words = prompt.text.removesuffix(f", {row.look} style")
        assert words != prompt.text
        if prompt.group is Group.EVERYDAY:
            assert EVERYDAY[words] == row.concept
        else:
            assert words == row.phrasings[0]


def test_everyday_words_ask_in_one_look_as_often_as_in_another(dataset: Dataset) -> None:
    rows = tuple(dataclasses.replace(row, split=Split.TRAIN) for row in dataset.rows)
    known = dataclasses.replace(dataset, rows=rows)
    asked = choose(known, {**COUNTS, Group.EVERYDAY: 6}, EVERYDAY, chance())
    looks = Counter(rows[each.row].look for each in asked if each.group is Group.EVERYDAY)
    assert looks == dict.fromkeys(dataset.looks, 2)


def test_words_of_a_caption_or_for_what_was_not_taught_are_left_out_and_said(
    dataset: Dataset,
) -> None:
    words = {"A red circle": "red circle", "coal": "black circle", "a centaur": "centaur"}
    kept, left_out = untaught(dataset, {**EVERYDAY, **words})
    assert kept == EVERYDAY
    assert left_out["A red circle"] == "it is a caption of the dataset"
    assert "black circle" in left_out["coal"]
    assert "centaur" in left_out["a centaur"]


def test_nobody_is_asked_to_draw_a_made_scene(dataset: Dataset) -> None:
    made = tuple(dataclasses.replace(row, split=Split.SCENE) for row in dataset.rows[:27])
    scenes = dataclasses.replace(dataset, rows=(*made, *dataset.rows[27:]))
    many = dict.fromkeys(Group, 54)
    assert all(each.row >= 27 for each in choose(scenes, many, EVERYDAY, chance()))


def test_only_kinds_of_things_that_were_taught_are_asked_for(dataset: Dataset) -> None:
    kinds = [dataset.rows[0].group]
    asked = choose(dataset, COUNTS, EVERYDAY, chance(), kinds)
    assert {dataset.rows[each.row].group for each in asked} == set(kinds)
    assert {each.group for each in asked} == set(Group)


def test_same_lots_choose_the_same_prompts(dataset: Dataset) -> None:
    assert choose(dataset, COUNTS, EVERYDAY, chance()) == choose(
        dataset, COUNTS, EVERYDAY, chance()
    )
    assert choose(dataset, COUNTS, EVERYDAY, chance()) != choose(
        dataset, COUNTS, EVERYDAY, chance(1)
    )


def test_a_dataset_without_pictures_to_ask_for_says_what_to_do(dataset: Dataset) -> None:
    alone = dataclasses.replace(dataset, rows=dataset.rows[:1])
    with pytest.raises(DatasetError, match="atelier data build"):
        choose(alone, COUNTS, EVERYDAY, chance())
