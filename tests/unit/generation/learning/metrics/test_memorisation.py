"""Memorisation against scikit-learn's neighbours and by construction."""

import math

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from generation.learning.metrics import memorisation


def test_nearest_equals_scikit_learns() -> None:
    chance = np.random.default_rng(0)
    drawn, training = chance.normal(size=(20, 6)), chance.normal(size=(50, 6))
    expected, numbers = NearestNeighbors(n_neighbors=1).fit(training).kneighbors(drawn)
    found, distance = memorisation.nearest(drawn, training)
    assert found.tolist() == numbers[:, 0].tolist()
    np.testing.assert_allclose(distance, expected[:, 0])


def test_neighbour_distance_is_scikit_learns_second_neighbour() -> None:
    training = np.random.default_rng(3).normal(size=(1500, 3))  # more than one block
    expected, found = NearestNeighbors(n_neighbors=2).fit(training).kneighbors(training)
    numbers, distance = memorisation.neighbours(training)
    np.testing.assert_allclose(distance, expected[:, 1])
    assert numbers.tolist() == found[:, 1].tolist()


def test_repeated_training_pictures_are_copies_and_far_ones_are_not() -> None:
    training = np.random.default_rng(1).normal(size=(10, 3))
    _, neighbours = memorisation.neighbours(training)
    repeated = memorisation.nearest(training + 1e-6, training)
    assert memorisation.copies(*repeated, neighbours).tolist() == [1] * 10
    new = memorisation.nearest(training + 100, training)
    assert memorisation.copies(*new, neighbours).tolist() == [0] * 10


def test_fresh_pictures_are_copies_as_often_as_neighbours_are_mutual() -> None:
    chance = np.random.default_rng(2)
    training, fresh = chance.normal(size=(3000, 2)), chance.normal(size=(3000, 2))
    found = memorisation.nearest(fresh, training)
    share = memorisation.copies(*found, memorisation.neighbours(training)[1]).mean()
    mutual_in_the_plane = 6 * math.pi / (8 * math.pi + 3 * math.sqrt(3))
    assert share == pytest.approx(mutual_in_the_plane, abs=0.03)


def test_leaving_a_training_picture_out_is_asking_for_it_anew() -> None:
    training = np.random.default_rng(4).normal(size=(60, 2))
    expected = []
    for number, picture in enumerate(training):
        others = np.delete(training, number, axis=0)
        found = memorisation.nearest(picture[None], others)
        expected += memorisation.copies(*found, memorisation.neighbours(others)[1]).tolist()
    neighbours, _ = memorisation.neighbours(training)
    assert memorisation.left_out(neighbours).tolist() == expected
    assert 0 < np.mean(expected) < 1


# Two foxes and a box drawn in two looks, and a scene that only the first look has.
PLACES = np.array([[0.0], [3.0], [10.0], [30.0], [4.0]])
THINGS, LOOKS = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 0])


def siblings(numbers: list[int], without: list[int]) -> list[float]:
    found = memorisation.sibling_distances(
        PLACES, THINGS, LOOKS, np.array(numbers), np.array(without)
    )
    return [float(each) for each in found]


def test_a_sibling_is_the_same_thing_in_another_look() -> None:
    assert siblings([0, 1, 2, 3], [-1] * 4) == [3, 3, 20, 20]


def test_what_no_other_look_draws_is_held_against_anything_there() -> None:
    assert siblings([4], [-1]) == [1]  # the second fox


def test_a_picture_that_does_not_count_is_no_sibling() -> None:
    assert siblings([0, 4], [1, 1]) == [30, 26]
    alone = memorisation.sibling_distances(
        PLACES, THINGS, np.zeros(5, int), np.array([0]), np.array([-1])
    )
    assert np.isnan(alone).all()
