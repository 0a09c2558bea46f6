"""Kernel distance against scikit-learn's kernel and against its own expectation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.pairwise import polynomial_kernel

from generation.learning.metrics.distances import Features
from generation.learning.metrics.kernel import kernel_distance, unbiased_mmd


def by_sklearn(first: Features, second: Features) -> float:
    """Equation 3 of Gretton et al. with explicit sums over i != j."""

    def kernel(a: Features, b: Features) -> Features:
        return polynomial_kernel(a, b, degree=3, gamma=1 / a.shape[1], coef0=1)

    within = 0.0
    for features in (first, second):
        values, count = kernel(features, features), len(features)
        pairs = [values[i, j] for i in range(count) for j in range(count) if i != j]
        within += sum(pairs) / (count * (count - 1))
    return within - 2 * float(kernel(first, second).mean())


def test_equals_the_definition_with_scikit_learns_kernel() -> None:
    chance = np.random.default_rng(0)
    first, second = chance.normal(size=(12, 7)), chance.normal(0.5, 1.5, size=(9, 7))
    assert unbiased_mmd(first, second) == pytest.approx(by_sklearn(first, second))


def test_is_zero_on_average_between_sets_of_one_distribution() -> None:
    chance = np.random.default_rng(1)
    values = [
        unbiased_mmd(chance.normal(size=(30, 4)), chance.normal(size=(30, 4))) for _ in range(300)
    ]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0  # unbiased, hence sometimes below


def test_grows_with_the_distance_of_the_sets() -> None:
    chance = np.random.default_rng(2)
    first = chance.normal(size=(50, 4))
    values = [unbiased_mmd(first, chance.normal(shift, size=(50, 4))) for shift in (0, 1, 2)]
    assert values == sorted(values)


def test_mean_over_subsets_approaches_the_value_of_everything() -> None:
    chance = np.random.default_rng(3)
    first, second = chance.normal(size=(60, 3)), chance.normal(1, size=(60, 3))
    whole = kernel_distance(first, second, np.random.default_rng(0))
    assert whole == unbiased_mmd(first, second)
    parts = kernel_distance(first, second, np.random.default_rng(0), subsets=400, subset_size=20)
    assert parts == pytest.approx(whole, rel=0.1)
    again = kernel_distance(first, second, np.random.default_rng(0), subsets=400, subset_size=20)
    assert parts == again


@given(st.integers(0, 2**32 - 1))
def test_is_symmetric_and_blind_to_order(seed: int) -> None:
    chance = np.random.default_rng(seed)
    first, second = chance.normal(size=(5, 3)), chance.normal(size=(7, 3))
    value = unbiased_mmd(first, second)
    assert value == pytest.approx(unbiased_mmd(second, first))
    assert value == pytest.approx(unbiased_mmd(chance.permutation(first), second))
