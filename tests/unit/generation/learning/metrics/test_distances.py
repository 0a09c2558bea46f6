"""Distances and diversity against SciPy."""

import numpy as np
import pytest
import scipy.spatial.distance
from hypothesis import given
from hypothesis import strategies as st

from generation.learning.metrics.accuracy import hits
from generation.learning.metrics.distances import distances
from generation.learning.metrics.diversity import mean_pairwise_distance


@given(st.integers(0, 2**32 - 1))
def test_distances_equal_scipys(seed: int) -> None:
    chance = np.random.default_rng(seed)
    rows, columns = chance.normal(size=(6, 5)), chance.normal(3, 10, size=(4, 5))
    expected = scipy.spatial.distance.cdist(rows, columns)
    np.testing.assert_allclose(distances(rows, columns), expected, atol=1e-6)


def test_diversity_is_the_mean_of_scipys_pairs() -> None:
    features = np.random.default_rng(0).normal(size=(9, 4))
    expected = scipy.spatial.distance.pdist(features).mean()
    assert mean_pairwise_distance(features) == pytest.approx(expected, abs=1e-6)


def test_repeated_pictures_have_no_diversity() -> None:
    assert mean_pairwise_distance(np.ones((4, 6))) == 0


def test_accuracy_counts_what_was_asked_for() -> None:
    assert hits(["flat", "noto", "flat"], ["flat", "flat", "flat"]).tolist() == [1, 0, 1]
