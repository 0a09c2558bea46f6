"""Fréchet distance against SciPy's matrix root and against closed forms."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from generation.learning.metrics.distances import Features
from generation.learning.metrics.frechet import Gaussian, between, fit, frechet_distance

sets = arrays.arrays(
    np.float64, st.tuples(st.integers(2, 6), st.just(3)), elements=st.floats(-10, 10, width=32)
)


def by_scipy(first: Features, second: Features) -> float:
    covariances = [np.cov(each, rowvar=False) for each in (first, second)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    means = ((first.mean(axis=0) - second.mean(axis=0)) ** 2).sum()
    return float(means + np.trace(covariances[0] + covariances[1] - 2 * root))


@pytest.mark.parametrize(("first_count", "second_count"), [(60, 90), (300, 40)])
def test_equals_the_textbook_formula_with_scipys_matrix_root(
    first_count: int, second_count: int
) -> None:
    chance = np.random.default_rng(0)
    first = chance.normal(size=(first_count, 8)) @ chance.normal(size=(8, 8))
    second = chance.normal(1.0, 2.0, size=(second_count, 8))
    assert frechet_distance(first, second) == pytest.approx(by_scipy(first, second), rel=1e-6)


def test_known_gaussians_have_the_closed_form_of_commuting_covariances() -> None:
    first = Gaussian(np.zeros(3), np.diag([1.0, 2.0, 3.0]))
    second = Gaussian(np.array([1.0, 0.0, 2.0]), np.diag([2.0, 2.0, 1.0]))
    assert between(first, second) == pytest.approx(5 + 1 + 0 + 4)


def test_fewer_pictures_than_features_lose_nothing() -> None:
    chance = np.random.default_rng(1)
    features = chance.normal(size=(10, 200))
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)
    # Stretching by s about the mean: every root of the covariance grows by s.
    stretched = features.mean(axis=0) + 3 * (features - features.mean(axis=0))
    expected = 4 * np.trace(np.cov(features, rowvar=False))
    assert frechet_distance(features, stretched) == pytest.approx(expected)


def test_fitted_root_squares_to_numpys_covariance() -> None:
    features = np.random.default_rng(2).normal(size=(20, 5))
    root = fit(features).root
    np.testing.assert_allclose(root.T @ root, np.cov(features, rowvar=False), atol=1e-12)


@given(sets, sets)
def test_is_symmetric_and_never_negative(first: Features, second: Features) -> None:
    distance = frechet_distance(first, second)
    assert distance >= 0
    assert distance == pytest.approx(frechet_distance(second, first), rel=1e-6, abs=1e-6)


@given(sets, st.randoms(use_true_random=False))
def test_does_not_depend_on_the_order_of_pictures(features: Features, random) -> None:
    order = list(range(len(features)))
    random.shuffle(order)
    assert frechet_distance(features, features[order]) == pytest.approx(0, abs=1e-6)


@given(sets, arrays.arrays(np.float64, 3, elements=st.floats(-10, 10, width=32)))
def test_a_shift_costs_its_squared_length(features: Features, shift: Features) -> None:
    assert frechet_distance(features, features + shift) == pytest.approx(
        (shift**2).sum(), rel=1e-6, abs=1e-6
    )
