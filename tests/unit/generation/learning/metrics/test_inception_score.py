"""The Inception Score's definition against closed forms and SciPy's divergence."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from generation.learning.metrics.inception_score import inception_score


def test_sure_and_even_classes_score_their_number() -> None:
    assert inception_score(np.tile(np.eye(7), (3, 1))) == pytest.approx(7)


def test_same_answer_for_every_picture_scores_one() -> None:
    assert inception_score(np.tile([[0.2, 0.3, 0.5]], (10, 1))) == pytest.approx(1)


def test_equals_exp_of_scipys_relative_entropy() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(5), size=40)
    entropies = [scipy.stats.entropy(row, probabilities.mean(axis=0)) for row in probabilities]
    assert inception_score(probabilities) == pytest.approx(np.exp(np.mean(entropies)))


@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_lies_between_one_and_the_number_of_classes(seed: int, classes: int) -> None:
    chance = np.random.default_rng(seed)
    probabilities = chance.dirichlet(np.full(classes, 0.3), size=9)
    score = inception_score(probabilities)
    assert 1 - 1e-9 <= score <= classes + 1e-9
    assert score == pytest.approx(inception_score(chance.permutation(probabilities)))
