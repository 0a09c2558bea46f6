"""Memorisation against scikit-learn's neighbours and by construction."""

import math

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from generation.metrics import memorisation


def test_nearest_equals_scikit_learns() -> None:
    chance = np.random.default_rng(0)
    drawn, training = chance.normal(size=(20, 6)), chance.normal(size=(50, 6))
    expected, numbers = NearestNeighbors(n_neighbors=1).fit(training).kneighbors(drawn)
    found, distance = memorisation.nearest(drawn, training)
    assert found.tolist() == numbers[:, 0].tolist()
    np.testing.assert_allclose(distance, expected[:, 0])


def test_neighbour_distance_is_scikit_learns_second_neighbour() -> None:
    training = np.random.default_rng(3).normal(size=(1500, 3))  # more than one block
    expected, _ = NearestNeighbors(n_neighbors=2).fit(training).kneighbors(training)
    np.testing.assert_allclose(memorisation.neighbour_distances(training), expected[:, 1])


def test_repeated_training_pictures_are_copies_and_far_ones_are_not() -> None:
    training = np.random.default_rng(1).normal(size=(10, 3))
    neighbours = memorisation.neighbour_distances(training)
    repeated = memorisation.nearest(training + 1e-6, training)
    assert memorisation.copies(*repeated, neighbours).tolist() == [1] * 10
    new = memorisation.nearest(training + 100, training)
    assert memorisation.copies(*new, neighbours).tolist() == [0] * 10


def test_fresh_pictures_are_copies_as_often_as_neighbours_are_mutual() -> None:
    chance = np.random.default_rng(2)
    training, fresh = chance.normal(size=(3000, 2)), chance.normal(size=(3000, 2))
    found = memorisation.nearest(fresh, training)
    share = memorisation.copies(*found, memorisation.neighbour_distances(training)).mean()
    mutual_in_the_plane = 6 * math.pi / (8 * math.pi + 3 * math.sqrt(3))
    assert share == pytest.approx(mutual_in_the_plane, abs=0.03)
