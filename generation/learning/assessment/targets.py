"""Hold figures against what a checkpoint worth showing should reach; a miss is told, no error."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from generation.learning.assessment.explanations import R_AT_1
from generation.learning.assessment.figures import REAL, Estimate, Figure
from generation.learning.assessment.prompts import Group
from generation.learning.assessment.references import ANSWERS, HELD_OUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What a checkpoint should reach on held-out prompts: `[targets]` of the recipe.

    Attributes:
        unseen_pairs: Captions found in pictures of known things in unseen looks, as a share of
            those found in the real pictures; at least.
        everyday: Captions found in pictures drawn from everyday words; at least.
        look_accuracy: Pictures in which the look is recognised; at least.
        frechet: Fréchet distance, as a multiple of that between two halves of the real pictures;
            at most.
        siblings: Pictures nearer to a training picture than its nearest sibling in another look;
            at most.
    """

    unseen_pairs: float = 0.85
    everyday: float = 0.5
    look_accuracy: float = 0.95
    frechet: float = 2.0
    siblings: float = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One target and what became of it.

    Attributes:
        target: What is asked, in words.
        wanted: The value at its border.
        figure: What was measured; None where there were too few prompts of the kind.
        is_least: Whether `wanted` is the least allowed, not the most.
        of_real: Whether `wanted` is a multiple of what real pictures get.
        trained: What training pictures get among the others, where that tells something.
    """

    target: str
    wanted: float
    figure: Figure | None
    is_least: bool = False
    of_real: bool = False
    trained: Estimate | None = None

    @property
    def real(self) -> Estimate | None:
        """What the real pictures get that answer the prompts."""
        return self.figure.estimates.get(REAL) if self.figure else None

    @property
    def found(self) -> Estimate | None:
        """What the checkpoint gets, as a multiple of `real` if that is what is wanted."""
        if self.figure is None or not self.of_real:
            return self.figure.drawn if self.figure else None
        if self.real is None or self.real.value <= 0:
            return None
        drawn, real = self.figure.drawn, self.real
        share = drawn.value / real.value
        noise = float(np.hypot(drawn.noise, share * real.noise)) / real.value
        return Estimate(share, noise)

    @property
    def missing(self) -> float | None:
        """By how much it is missed: 0 if it is met, None where nothing was measured."""
        if self.found is None:
            return None
        short = self.wanted - self.found.value
        return max(0.0, short if self.is_least else -short)


def outcomes(figures: Iterable[Figure], targets: Targets) -> tuple[Outcome, ...]:
    """Return what became of each target.

    Args:
        figures: Every metric in every slice.
    """
    by_slice = {(each.slice_kind, each.slice_name, each.metric): each for each in figures}
    recall = next((each for _, _, each in by_slice if each.startswith(R_AT_1)), R_AT_1)

    def of_prompts(group: Group, metric: str) -> Figure | None:
        return by_slice.get(("prompts", group.value, metric))

    def held_out(metric: str) -> Figure | None:
        return by_slice.get((ANSWERS, HELD_OUT, metric))

    def of_trained(metric: str) -> Estimate | None:
        known = of_prompts(Group.KNOWN_PAIRS, metric)
        return known.estimates.get(REAL) if known else None

    return (
        Outcome(
            target=f"{recall}, known things in unseen looks",
            wanted=targets.unseen_pairs,
            figure=of_prompts(Group.UNSEEN_PAIRS, recall),
            is_least=True,
            of_real=True,
        ),
        Outcome(
            target=f"{recall}, everyday words",
            wanted=targets.everyday,
            figure=of_prompts(Group.EVERYDAY, recall),
            is_least=True,
        ),
        Outcome(
            target="look recognised, held out",
            wanted=targets.look_accuracy,
            figure=held_out("look-accuracy"),
            is_least=True,
        ),
        Outcome(
            target="Fréchet distance, held out",
            wanted=targets.frechet,
            figure=held_out("fd-scorer"),
            of_real=True,
        ),
        *(
            Outcome(
                target=f"nearer than a sibling in {where}, held out",
                wanted=targets.siblings,
                figure=held_out(metric),
                trained=of_trained(metric),
            )
            for metric, where in (("siblings-scorer", "features"), ("siblings-pixels", "pixels"))
        ),
    )
