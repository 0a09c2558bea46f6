"""Pictures put to every task: perfect copies pass, strangers fail, and each slice holds its own."""

import dataclasses

import numpy as np
import pytest

from generation.learning.assessment.figures import DRAWN, REAL, SHUFFLED
from generation.learning.assessment.judge import Judge, Judged
from generation.learning.assessment.prompts import Group, choose
from generation.learning.assessment.references import ANSWERS, EVERYONE, HELD_OUT, References
from generation.learning.dataset.stored import HELD_OUT as UNSEEN
from generation.learning.dataset.stored import Dataset, Split
from generation.learning.recipes.work import Work
from generation.learning.training import scorer
from generation.work.progress import silent
from tests.unit.generation.learning.assessment.world import EVERYDAY

AMONG = 20
COUNTS = {
    Group.KNOWN_PAIRS: 20,
    Group.UNSEEN_PAIRS: 8,
    Group.UNSEEN_CONCEPTS: 6,
    Group.EVERYDAY: 6,
}


@pytest.fixture(scope="module")
def references(work: Work, dataset: Dataset) -> References:
    judge = Judge(scorer.read(work.checkpoint("scorer")), batch_size=64)
    chance = np.random.default_rng(0)
    prompts = choose(dataset, COUNTS, EVERYDAY, chance)
    real = judge.real(dataset, 32, silent)
    return References(dataset, prompts, judge, real, np.arange(10), AMONG, chance)


@pytest.fixture(scope="module")
def perfect(references: References) -> Judged:
    """Judge the very pictures that were asked for, each drawn twice."""
    return references.real.take(np.tile(references.rows, 2))


@pytest.fixture(scope="module")
def strangers(references: References) -> Judged:
    """Judge pictures of something else, twice."""
    return references.real.take(np.tile(np.roll(references.rows, 7), 2))


def test_perfect_copies_are_judged_like_real_pictures_and_strangers_are_not(
    references: References, perfect: Judged, strangers: Judged
) -> None:
    scores = references.evidence(perfect, strangers).scores
    for metric in (f"r@1-of-{AMONG}", "look-accuracy"):
        assert (scores[metric][DRAWN] == scores[metric][REAL]).all()
        assert scores[metric][DRAWN].mean() > 0.8
        assert scores[metric]["untrained"].mean() < 0.5
        assert scores[metric][SHUFFLED].mean() < 0.6


def test_perfect_copies_of_training_pictures_are_copies_in_features_and_pixels(
    references: References, perfect: Judged, dataset: Dataset
) -> None:
    is_known = np.array([dataset.rows[row].split is Split.TRAIN for row in references.rows])
    scores = references.evidence(perfect, perfect).scores
    for metric in ("siblings-scorer", "siblings-pixels"):
        assert (scores[metric][DRAWN][is_known] == 1).all()
    for metric in ("memorisation-scorer", "memorisation-pixels"):
        assert (scores[metric][DRAWN][is_known] == 1).all()
        # A real picture is held against the others only: it does not copy itself.
        assert scores[metric][REAL][is_known].mean() < 0.7


def test_pictures_that_repeat_themselves_have_no_diversity(
    references: References, perfect: Judged
) -> None:
    diversity = references.evidence(perfect, perfect).scores["diversity-scorer"]
    assert diversity[DRAWN] == pytest.approx(0, abs=1e-5)
    assert diversity[REAL].min() > 0.1
    assert diversity[SHUFFLED].min() > 0.1


def test_closest_pairs_are_the_copies_each_training_picture_once(
    references: References, perfect: Judged
) -> None:
    closest = references.closest(perfect, 5)
    assert len({pair.row for pair in closest}) == 5
    for pair in closest:
        assert references.rows[pair.prompt] == pair.row
        assert pair.ratio == pytest.approx(0, abs=1e-5)
        assert pair.pixel_distance == 0


def test_every_prompt_is_in_one_slice_of_each_kind(references: References) -> None:
    everyone = np.arange(len(references.prompts)).tolist()
    for kind in ("all", "prompts", "look", "group"):
        members = [part.prompts for part in references.slices() if part.kind == kind]
        assert sorted(np.concatenate(members).tolist()) == everyone


def test_a_look_is_compared_with_pictures_of_that_look_alone(
    references: References, dataset: Dataset
) -> None:
    for part in references.slices():
        if part.kind == "look":
            numbers = [*part.population, *references.rows[part.prompts]]
            assert {dataset.rows[number].look for number in numbers} == {part.name}


def test_what_is_asked_for_belongs_to_the_population(references: References) -> None:
    assert np.isin(references.rows, references.population).all()
    assert np.isin(np.arange(10), references.population).all()


def test_held_out_is_what_no_training_picture_answers(
    references: References, dataset: Dataset
) -> None:
    (part,) = (part for part in references.slices() if part.kind == ANSWERS)
    assert part.name == HELD_OUT
    asked = {i for i, row in enumerate(references.rows) if dataset.rows[row].split in UNSEEN}
    assert set(part.prompts.tolist()) == asked


def test_the_scorer_is_tried_on_every_real_picture_held_back_from_it(
    references: References, dataset: Dataset
) -> None:
    found = references.of_scorer()
    unseen = [row for row in dataset.rows if row.is_unseen_by_scorer]
    assert found.keys() == {EVERYONE, *(row.look for row in unseen)}
    assert found[EVERYONE].pictures == len(unseen)
    assert sum(each.pictures for each in found.values()) == 2 * len(unseen)
    assert found[EVERYONE].recall > 5 / AMONG


def test_made_scenes_are_trained_on_and_serve_as_nothing_else(work: Work, dataset: Dataset) -> None:
    is_scene = [row.split is Split.TRAIN and i % 4 == 0 for i, row in enumerate(dataset.rows)]
    rows = tuple(
        dataclasses.replace(
            row, split=Split.SCENE, concept=f"{row.concept} and a hat", group="hats"
        )
        if scene
        else row
        for row, scene in zip(dataset.rows, is_scene, strict=True)
    )
    made = dataclasses.replace(dataset, rows=rows)
    judge = Judge(scorer.read(work.checkpoint("scorer")), batch_size=64)
    chance = np.random.default_rng(0)
    prompts = choose(made, COUNTS, {}, chance)
    real = judge.real(made, 32, silent)
    found = References(made, prompts, judge, real, np.array([], int), AMONG, chance)
    assert "hats" not in {part.name for part in found.slices()}
    classes = found.evidence(real.take(found.rows), real.take(found.rows)).classes
    names = {row.concept for row, scene in zip(rows, is_scene, strict=True) if not scene}
    assert classes[DRAWN].shape[-1] == len(names)
    # A picture that repeats a scene repeats what was trained on.
    scenes = np.resize(np.flatnonzero(is_scene), len(prompts))
    scores = found.evidence(real.take(scenes), real.take(scenes)).scores
    for metric in ("memorisation-scorer", "siblings-pixels"):
        assert (scores[metric][DRAWN] == 1).all()
