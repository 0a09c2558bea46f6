"""Memorisation against scikit-learn's neighbours and by construction."""

import numpy as np
from sklearn.neighbors import NearestNeighbors

from generation.metrics import memorisation


def test_nearest_equals_scikit_learns() -> None:
    chance = np.random.default_rng(0)
    drawn, training = chance.normal(size=(20, 6)), chance.normal(size=(50, 6))
    expected, numbers = NearestNeighbors(n_neighbors=1).fit(training).kneighbors(drawn)
    found, distance = memorisation.nearest(drawn, training)
    assert found.tolist() == numbers[:, 0].tolist()
    np.testing.assert_allclose(distance, expected[:, 0])


def test_sibling_is_the_nearest_of_the_same_concept_in_another_look() -> None:
    training = np.array([[0.0], [1.0], [5.0], [5.5], [7.0]])
    concepts = ["fox", "fox", "fox", "owl", "cat"]
    looks = ["flat", "flat", "noto", "flat", "flat"]
    siblings = memorisation.sibling_distances(training, concepts, looks)
    # The two flat foxes are no siblings of each other; owl and cat have one look each.
    np.testing.assert_allclose(siblings, [5, 4, 4, np.nan, np.nan])


def test_repeated_training_pictures_are_copies_and_new_ones_are_not() -> None:
    chance = np.random.default_rng(1)
    training = chance.normal(size=(10, 3))
    concepts = [f"thing {number // 2}" for number in range(10)]
    siblings = memorisation.sibling_distances(training, concepts, ["flat", "noto"] * 5)
    repeated = memorisation.nearest(training + 1e-6, training)
    assert memorisation.copies(*repeated, siblings).tolist() == [1] * 10
    new = memorisation.nearest(training + 100, training)
    assert memorisation.copies(*new, siblings).tolist() == [0] * 10


def test_without_a_sibling_nothing_is_said() -> None:
    training = np.array([[0.0], [9.0]])
    siblings = memorisation.sibling_distances(training, ["fox", "owl"], ["flat", "flat"])
    found = memorisation.nearest(np.array([[0.1]]), training)
    assert np.isnan(memorisation.copies(*found, siblings)).all()
