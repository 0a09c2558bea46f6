"""Turn what was seen on pictures into figures: each metric, in each slice, beside its references.

Noise is the delete-half jackknife: prompts are split into random halves, every metric is computed
on each half alone, the value is the mean over the halves and the noise their standard deviation,
which estimates the standard error of the figure over another choice of prompts and seeds.

Source: Shao and Wu, A General Theory for Jackknife Variance Estimation (1989), section 2.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from generation.learning.metrics.distances import Features
from generation.learning.metrics.frechet import frechet_distance
from generation.learning.metrics.inception_score import inception_score
from generation.learning.metrics.kernel import kernel_distance
from generation.learning.metrics.precision_recall import precision_recall
from generation.work.progress import Progress, silent

Numbers = npt.NDArray[np.int64]
DRAWN, UNTRAINED, REAL, SHUFFLED = "drawn", "untrained", "real", "shuffled"
FREQUENT = 2  # a half needs this many pictures more than `k`, or nothing is said of it


@dataclass(frozen=True, slots=True)
class Comparing:
    """How sets of pictures are compared.

    Attributes:
        splits: How often the prompts are split into halves.
        k: Nearest neighbour that spans a manifold, for precision and recall. The paper's 3 is for
            thousands of pictures; balls around a hundred are so wide that noise lies in them.
        kernel_subsets: Random subsets averaged in the kernel distance.
        kernel_subset_size: Most pictures in one.
    """

    splits: int = 4
    k: int = 3
    kernel_subsets: int = 20
    kernel_subset_size: int = 500


@dataclass(frozen=True, slots=True)
class Slice:
    """Some of the prompts, with the real pictures they are compared with.

    Attributes:
        kind: `all`, `prompts`, `answers`, `look` or `group`.
        prompts: Numbers of prompts.
        population: Numbers of rows; the rows asked for are taken out again.
    """

    kind: str
    name: str
    prompts: Numbers
    population: Numbers


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything seen, in the order of the prompts.

    Attributes:
        rows: The row that each prompt asks for, shape (prompts,).
        everything: Features of every row, shape (rows, features).
        features: For drawn, untrained and real pictures, shape (seeds, prompts, features).
        classes: The same for concept probabilities, shape (seeds, prompts, concepts).
        scores: Metric to source to one value a prompt, shape (prompts,); NaN says nothing.
    """

    rows: Numbers
    everything: Features
    features: Mapping[str, Features]
    classes: Mapping[str, Features]
    scores: Mapping[str, Mapping[str, Features]]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and the standard deviation it would have over other prompts and seeds."""

    value: float
    noise: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric in one slice.

    Attributes:
        slice_kind: `all`, `prompts`, `answers`, `look` or `group`.
        slice_name: Which of them.
        prompts: How many prompts it rests on.
        estimates: Of `drawn`, and of whichever of `untrained`, `real` and `shuffled` mean
            something for this metric.
    """

    metric: str
    slice_kind: str
    slice_name: str
    prompts: int
    estimates: Mapping[str, Estimate]

    @property
    def drawn(self) -> Estimate:
        """The checkpoint's own value."""
        return self.estimates[DRAWN]


def compute(
    evidence: Evidence,
    slices: Sequence[Slice],
    comparing: Comparing,
    seed: int,
    report: Progress = silent,
) -> tuple[Figure, ...]:
    """Return every metric in every slice that is large enough for it."""
    found: list[Figure] = []
    for number, part in enumerate(slices):
        report("compare", number, len(slices), part.name)
        found += _of_slice(evidence, part, comparing, seed)
    report("compare", len(slices), len(slices))
    return tuple(found)


def _of_slice(evidence: Evidence, part: Slice, comparing: Comparing, seed: int) -> Iterator[Figure]:
    generator = np.random.default_rng(seed)
    values: dict[str, dict[str, list[float]]] = {}
    for half in halves(part.prompts, comparing.splits, generator):
        of_half = {
            metric: {source: _mean(scores[half]) for source, scores in sources.items()}
            for metric, sources in evidence.scores.items()
        }
        of_half |= _of_sets(evidence, part, half, comparing, generator)
        for metric, sources in of_half.items():
            for source, value in sources.items():
                values.setdefault(metric, {}).setdefault(source, []).append(value)
    for metric, found in values.items():
        estimates = {source: _estimate(each) for source, each in found.items()}
        known = {source: each for source, each in estimates.items() if math.isfinite(each.value)}
        if DRAWN in known:
            yield Figure(metric, part.kind, part.name, len(part.prompts), known)


def halves(members: Numbers, splits: int, generator: np.random.Generator) -> Iterator[Numbers]:
    """Yield both halves of each of several random splits; nothing of fewer than four prompts."""
    middle = len(members) // 2
    for _ in range(splits if len(members) >= 4 else 0):
        shuffled = generator.permutation(members)
        yield shuffled[:middle]
        yield shuffled[middle : 2 * middle]


def _of_sets(
    evidence: Evidence,
    part: Slice,
    half: Numbers,
    comparing: Comparing,
    generator: np.random.Generator,
) -> dict[str, dict[str, float]]:
    """Compare half of the prompts' pictures with the real pictures that no prompt of it asks for.

    The real pictures of those prompts are compared in the same way: that is what a checkpoint
    that drew exactly what was asked for would get.
    """
    others = evidence.everything[np.setdiff1d(part.population, evidence.rows[half])]
    found: dict[str, dict[str, float]] = {}
    if min(len(half), len(others)) < comparing.k + FREQUENT:
        return found
    for source, features in evidence.features.items():
        of_seeds = [
            _compare(others, features[s, half], evidence.classes[source][s, half], comparing)
            | {"kd-scorer": _kernel(others, features[s, half], comparing, generator)}
            for s in range(len(features))
        ]
        for metric in of_seeds[0]:
            mean = float(np.mean([values[metric] for values in of_seeds]))
            found.setdefault(metric, {})[source] = mean
    return found


def _compare(
    real: Features, drawn: Features, classes: Features, comparing: Comparing
) -> dict[str, float]:
    precision, recall = precision_recall(real, drawn, comparing.k)
    return {
        "fd-scorer": frechet_distance(real, drawn),
        "is-scorer": inception_score(classes),
        "precision-scorer": precision,
        "recall-scorer": recall,
    }


def _kernel(
    real: Features, drawn: Features, comparing: Comparing, generator: np.random.Generator
) -> float:
    subsets, size = comparing.kernel_subsets, comparing.kernel_subset_size
    return kernel_distance(real, drawn, generator, subsets, size)


def _mean(values: Features) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _estimate(values: list[float]) -> Estimate:
    known = [value for value in values if math.isfinite(value)]
    if len(known) < 2:
        return Estimate(math.nan, math.nan)
    return Estimate(float(np.mean(known)), float(np.std(known, ddof=1)))
