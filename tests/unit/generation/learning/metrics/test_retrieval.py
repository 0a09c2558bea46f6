"""Recall at 1 against drawing the distractors by lot."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.learning.metrics.distances import Features
from generation.learning.metrics.retrieval import recall_at_1


def unit(features: Features) -> Features:
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def by_lot(pictures: Features, texts: Features, own, among: int, draws: int) -> Features:
    chance = np.random.default_rng(9)
    won = np.zeros(len(pictures))
    for number, picture in enumerate(pictures):
        others = np.delete(np.arange(len(texts)), own[number])
        for _ in range(draws):
            distractors = chance.choice(others, among - 1, replace=False)
            won[number] += (texts[distractors] @ picture).max() < texts[own[number]] @ picture
    return won / draws


def test_equals_the_share_of_many_draws() -> None:
    chance = np.random.default_rng(0)
    texts = unit(chance.normal(size=(30, 4)))
    own = chance.integers(30, size=12)
    pictures = unit(texts[own] + 0.7 * chance.normal(size=(12, 4)))
    exact = recall_at_1(pictures, texts, own, among=8)
    assert 0 < exact.mean() < 1
    np.testing.assert_allclose(exact, by_lot(pictures, texts, own, 8, 4000), atol=0.03)


def test_own_caption_always_wins_for_a_picture_that_equals_it() -> None:
    texts = unit(np.random.default_rng(1).normal(size=(20, 5)))
    assert recall_at_1(texts, texts, np.arange(20), among=20).tolist() == [1] * 20


def test_one_better_caption_is_avoided_by_lot() -> None:
    texts = np.array([[1.0, 0], [0.0, 1], [-1.0, 0], [0.0, -1], [-0.6, -0.8]])
    picture = unit(np.array([[2.0, 1.0]]))  # nearest to caption 0; caption 1 is asked for
    # Of 4 others, 2 are drawn: the better one is missed in half of all draws.
    assert recall_at_1(picture, texts, np.array([1]), among=3) == pytest.approx(0.5)


def test_a_tie_counts_as_lost() -> None:
    texts = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert recall_at_1(texts, texts, np.array([0, 1]), among=2).tolist() == [0, 0]


@given(st.integers(0, 2**32 - 1), st.integers(2, 10))
def test_pictures_without_meaning_find_their_caption_by_luck_alone(seed: int, among: int) -> None:
    chance = np.random.default_rng(seed)
    texts, picture = unit(chance.normal(size=(10, 3))), unit(chance.normal(size=(1, 3)))
    everyone = recall_at_1(np.repeat(picture, 10, axis=0), texts, np.arange(10), among)
    assert everyone.mean() == pytest.approx(1 / among)
