"""Precision and recall against scikit-learn's neighbours and by construction."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from generation.learning.metrics.distances import Features
from generation.learning.metrics.precision_recall import precision_recall


def covered_by_sklearn(manifold: Features, pictures: Features, k: int) -> float:
    # k + 1: each picture finds itself first.
    neighbours = NearestNeighbors(n_neighbors=k + 1).fit(manifold)
    radii = neighbours.kneighbors(manifold)[0][:, -1]
    radii[radii > np.median(radii)] = -1  # the wider half of the balls is left out
    across = NearestNeighbors(n_neighbors=len(manifold)).fit(manifold)
    reach, numbers = across.kneighbors(pictures)
    return float((reach <= radii[numbers]).any(axis=1).mean())


@pytest.mark.parametrize("k", [1, 3])
def test_equals_scikit_learns_neighbours(k: int) -> None:
    chance = np.random.default_rng(0)
    real, drawn = chance.normal(size=(80, 3)), chance.normal(0.7, 0.8, size=(60, 3))
    precision, recall = precision_recall(real, drawn, k)
    assert precision == covered_by_sklearn(real, drawn, k)
    assert recall == covered_by_sklearn(drawn, real, k)
    assert 0 < recall < precision < 1


def test_one_repeated_mode_is_precise_and_recalls_little() -> None:
    chance = np.random.default_rng(1)
    real = chance.normal(size=(200, 2))
    drawn = chance.normal(scale=0.01, size=(50, 2))
    precision, recall = precision_recall(real, drawn)
    assert precision == 1
    assert recall < 0.1


def test_far_away_pictures_have_neither() -> None:
    chance = np.random.default_rng(2)
    real = chance.normal(size=(30, 2))
    assert precision_recall(real, real + 1000) == (0, 0)


@given(st.integers(0, 2**32 - 1))
def test_same_pictures_have_as_much_of_both_in_any_order(seed: int) -> None:
    chance = np.random.default_rng(seed)
    real = chance.normal(size=(12, 4))
    precision, recall = precision_recall(real, chance.permutation(real))
    assert precision == recall >= 0.5


def test_noise_between_far_apart_pictures_is_not_precise() -> None:
    chance = np.random.default_rng(3)
    crowd, lonely = chance.normal(size=(60, 2)), chance.normal(scale=50, size=(40, 2))
    noise = chance.normal(25, 3, size=(30, 2))
    assert precision_recall(np.concatenate([crowd, lonely]), noise)[0] == 0


@given(st.integers(0, 2**32 - 1))
def test_swapping_the_sets_swaps_precision_and_recall(seed: int) -> None:
    chance = np.random.default_rng(seed)
    real, drawn = chance.normal(size=(12, 2)), chance.normal(1, size=(9, 2))
    precision, recall = precision_recall(real, drawn)
    assert precision_recall(drawn, real) == (recall, precision)
