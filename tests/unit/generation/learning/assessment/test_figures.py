"""Figures from numbers alone: what is equal gets equal figures, and noise is what it claims."""

import dataclasses
import math

import numpy as np
import pytest

from generation.learning.assessment.figures import (
    DRAWN,
    REAL,
    SHUFFLED,
    UNTRAINED,
    Comparing,
    Evidence,
    Figure,
    Slice,
    compute,
)

ROWS, PROMPTS, FEATURES, CONCEPTS = 80, 40, 5, 6
SETS = ("fd-scorer", "kd-scorer", "is-scorer", "precision-scorer", "recall-scorer")
EVERYTHING = Slice("all", "all", np.arange(PROMPTS), np.arange(ROWS))


def evidence_of(drawn: float = 0.0) -> Evidence:
    """Return evidence in which drawn pictures are the real ones, moved by so much."""
    chance = np.random.default_rng(0)
    everything = chance.normal(size=(ROWS, FEATURES))
    rows = chance.permutation(ROWS)[:PROMPTS]
    real = everything[rows][None]
    classes = chance.dirichlet(np.full(CONCEPTS, 0.2), size=(1, PROMPTS))
    return Evidence(
        rows=rows,
        everything=everything,
        features={
            DRAWN: np.concatenate([real + drawn, real + drawn]),
            UNTRAINED: np.full((1, PROMPTS, FEATURES), 5.0),
            REAL: real,
        },
        classes={
            DRAWN: np.concatenate([classes, classes]),
            UNTRAINED: np.full((1, PROMPTS, CONCEPTS), 1 / CONCEPTS),
            REAL: classes,
        },
        scores={"look-accuracy": {DRAWN: np.arange(PROMPTS) % 2.0, SHUFFLED: np.zeros(PROMPTS)}},
    )


def by_metric(figures: tuple[Figure, ...]) -> dict[str, Figure]:
    return {figure.metric: figure for figure in figures}


def test_drawing_exactly_what_was_asked_for_gets_the_figures_of_real_pictures() -> None:
    found = by_metric(compute(evidence_of(), [EVERYTHING], Comparing(), seed=0))
    for metric in SETS:
        assert found[metric].drawn == found[metric].estimates[REAL], metric
    assert found.keys() == {*SETS, "look-accuracy"}


def test_an_untrained_checkpoint_is_told_from_real_pictures_by_every_metric() -> None:
    found = by_metric(compute(evidence_of(), [EVERYTHING], Comparing(), seed=0))
    for metric in SETS:
        real, untrained = found[metric].estimates[REAL], found[metric].estimates[UNTRAINED]
        gain = real.value - untrained.value
        if metric in {"fd-scorer", "kd-scorer"}:
            gain = -gain
        assert gain > 2 * math.hypot(real.noise, untrained.noise), metric


def test_distances_grow_as_the_drawn_pictures_move_away() -> None:
    near, far = (
        by_metric(compute(evidence_of(moved), [EVERYTHING], Comparing(), seed=0))
        for moved in (0.5, 2.0)
    )
    for metric in ("fd-scorer", "kd-scorer"):
        assert near[metric].drawn.value < far[metric].drawn.value
    assert near["precision-scorer"].drawn.value > far["precision-scorer"].drawn.value


def test_noise_of_a_mean_is_its_standard_error() -> None:
    many = Comparing(splits=100)
    values = np.random.default_rng(3).normal(size=PROMPTS)
    evidence = dataclasses.replace(evidence_of(), scores={"look-accuracy": {DRAWN: values}})
    figure = by_metric(compute(evidence, [EVERYTHING], many, seed=0))["look-accuracy"]
    assert figure.drawn.value == pytest.approx(values.mean())
    standard_error = values.std(ddof=1) / math.sqrt(PROMPTS)
    assert figure.drawn.noise == pytest.approx(standard_error, rel=0.1)


def test_sets_are_left_out_where_a_half_is_too_small_to_have_neighbours() -> None:
    few = Slice("group", "few", np.arange(8), np.arange(ROWS))
    assert compute(evidence_of(), [few], Comparing(k=3), seed=0)[0].metric == "look-accuracy"
    assert len(compute(evidence_of(), [few], Comparing(k=3), seed=0)) == 1
    assert len(compute(evidence_of(), [few], Comparing(k=1), seed=0)) == 6
    alone = Slice("group", "alone", np.arange(3), np.arange(ROWS))
    assert compute(evidence_of(), [alone], Comparing(), seed=0) == ()


def test_prompts_about_which_nothing_is_known_do_not_count() -> None:
    values = np.where(np.arange(PROMPTS) < 20, 1.0, np.nan)
    scores = {
        "diversity-scorer": {DRAWN: values, REAL: np.full(PROMPTS, np.nan)},
        "psnr": {DRAWN: np.full(PROMPTS, np.nan)},
    }
    evidence = dataclasses.replace(evidence_of(), scores=scores)
    found = by_metric(compute(evidence, [EVERYTHING], Comparing(), seed=0))
    assert found["diversity-scorer"].drawn.value == 1
    assert found["diversity-scorer"].estimates.keys() == {DRAWN}
    assert "psnr" not in found


def test_same_seed_gives_the_same_figures_to_the_last_digit() -> None:
    first, second, other = (
        compute(evidence_of(0.3), [EVERYTHING], Comparing(), seed) for seed in (0, 0, 1)
    )
    assert first == second
    assert first != other
