"""A target is met, missed by so much, or not measured; nothing else."""

import pytest

from generation.learning.assessment.figures import DRAWN, REAL, Estimate, Figure
from generation.learning.assessment.references import ANSWERS, HELD_OUT
from generation.learning.assessment.targets import Targets, outcomes


def figure(kind: str, name: str, metric: str, drawn: float, real: float) -> Figure:
    return Figure(metric, kind, name, 9, {DRAWN: Estimate(drawn, 0.1), REAL: Estimate(real, 0.1)})


FIGURES = (
    figure("all", "all", "r@1-of-100", 0.1, 0.1),
    figure("prompts", "unseen pairs", "r@1-of-100", 0.6, 0.8),
    figure("prompts", "everyday words", "r@1-of-100", 0.5, 0.9),
    figure("prompts", "known pairs", "siblings-pixels", 1.0, 0.4),
    figure(ANSWERS, HELD_OUT, "look-accuracy", 0.97, 0.9),
    figure(ANSWERS, HELD_OUT, "fd-scorer", 12.0, 5.0),
    figure(ANSWERS, HELD_OUT, "siblings-scorer", 0.5, 0.55),
    figure(ANSWERS, HELD_OUT, "siblings-pixels", 0.01, 0.55),
)


def test_each_target_is_held_against_its_own_prompts() -> None:
    missing = [outcome.missing for outcome in outcomes(FIGURES, Targets())]
    assert missing == [
        pytest.approx(0.85 - 0.6 / 0.8),  # a share of what real pictures get
        0,
        0,
        pytest.approx(12 / 5 - 2),  # a multiple of what real pictures get, at most
        pytest.approx(0.48),
        0,
    ]


def test_a_recipe_may_ask_for_less() -> None:
    targets = Targets(unseen_pairs=0.7, frechet=3.0, siblings=0.5)
    assert {outcome.missing for outcome in outcomes(FIGURES, targets)} == {0}


def test_what_training_pictures_get_is_told_beside_copying_alone() -> None:
    trained = [outcome.trained for outcome in outcomes(FIGURES, Targets())]
    assert trained == [None] * 5 + [Estimate(0.4, 0.1)]


def test_a_share_is_as_uncertain_as_both_of_its_parts() -> None:
    found = outcomes(FIGURES, Targets())[0].found
    assert found is not None
    relative = ((0.1 / 0.6) ** 2 + (0.1 / 0.8) ** 2) ** 0.5
    assert found.noise == pytest.approx(found.value * relative)


def test_without_prompts_of_a_kind_nothing_is_said_of_it() -> None:
    assert all(outcome.missing is None for outcome in outcomes(FIGURES[:1], Targets()))
