"""One ranking from many comparisons: the Bradley-Terry model, with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from generation.work.comparisons import Comparison

Floats = npt.NDArray[np.float64]

PRIOR = 0.5
TOLERANCE = 1e-10
MAX_STEPS = 100
NORMAL_95 = 1.959963984540054  # 97.5 % quantile of the standard normal distribution


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the ends of its 95 % confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Standing:
    """One checkpoint's place.

    Attributes:
        strength: Log-odds against the average of all that were compared.
        points: Wins, ties counted half.
        comparisons: How often it was compared.
    """

    name: str
    strength: Interval
    points: float
    comparisons: int


@dataclass(frozen=True, eq=False)
class Ranking:
    """What all comparisons together say.

    Attributes:
        standings: The strongest first.
        covariance: Of the centred strengths, in the order of `standings`; shape (n, n).
    """

    standings: tuple[Standing, ...]
    covariance: Floats

    def win_share(self, name: str, other: str) -> Interval:
        """Return how often `name` would be preferred to `other`, ties counted half, from 0 to 1.

        Raises:
            KeyError: One of them was not compared.
        """
        i, j = self._place_of(name), self._place_of(other)
        lead = self.standings[i].strength.value - self.standings[j].strength.value
        variance = self.covariance[i, i] + self.covariance[j, j] - self.covariance[i, j] * 2
        margin = NORMAL_95 * float(np.sqrt(max(variance, 0.0)))
        low, value, high = (_logistic(lead + shift) for shift in (-margin, 0.0, margin))
        return Interval(float(value), float(low), float(high))

    def _place_of(self, name: str) -> int:
        for place, standing in enumerate(self.standings):
            if standing.name == name:
                return place
        raise KeyError(f"{name!r} was not compared")


def rank(comparisons: Sequence[Comparison], prior: float = PRIOR) -> Ranking:
    """Fit strengths by maximum likelihood: P(i beats j) = 1 / (1 + exp(theta_j - theta_i)).

    Ties are half a win for each. So that a checkpoint that never lost stays finite, each also
    plays against an imagined average one and gets `prior` wins and as many losses. Newton's
    method; the penalised likelihood is strictly concave, so the step is only ever halved.

    Source: Bradley and Terry, Rank Analysis of Incomplete Block Designs I, Biometrika 39 (1952);
    Hunter, MM Algorithms for Generalized Bradley-Terry Models, Annals of Statistics 32 (2004),
    section 2 for when a maximum exists, section 4 for the inverse Fisher information as
    covariance; Caron and Doucet, Efficient Bayesian Inference for Generalized Bradley-Terry
    Models (2012), for the prior as imagined comparisons.

    Args:
        comparisons: In any order; none at all gives an empty ranking.
        prior: Imagined wins and losses of each, above 0.

    Raises:
        ValueError: `prior` is not above 0.
    """
    if prior <= 0.0:
        raise ValueError(f"prior must be above 0, not {prior}: an unbeaten checkpoint has no limit")
    names = sorted({name for c in comparisons for name in (c.first, c.second)})
    wins = _points(comparisons, names)
    strengths, information = _fit(wins, prior)
    centring = np.eye(len(names)) - 1.0 / max(len(names), 1)
    covariance = centring @ np.linalg.inv(information) @ centring
    centred = centring @ strengths
    margins = NORMAL_95 * np.sqrt(np.maximum(np.diag(covariance), 0.0))
    order = np.lexsort((np.array(names, dtype=str), -centred))
    standings = tuple(
        Standing(
            name=names[i],
            strength=Interval(
                float(centred[i]), float(centred[i] - margins[i]), float(centred[i] + margins[i])
            ),
            points=float(wins[i].sum()),
            comparisons=round(float(wins[i].sum() + wins[:, i].sum())),
        )
        for i in order
    )
    return Ranking(standings, covariance[np.ix_(order, order)])


def table(ranking: Ranking) -> str:
    """Return the ranking as lines for a terminal; each is held against the next one down."""
    if not ranking.standings:
        return "nothing was compared yet"
    width = max(len(standing.name) for standing in ranking.standings)
    header = f"{'':3}{'checkpoint':<{max(width, 10)}}  strength (95 %)         points  "
    lines = [f"{header}preferred to the next"]
    for place, standing in enumerate(ranking.standings):
        strength = standing.strength
        span = f"{strength.value:+.2f} ({strength.low:+.2f} to {strength.high:+.2f})"
        of = f"{standing.points:g}/{standing.comparisons}"
        below = ranking.standings[place + 1 : place + 2]
        share = [ranking.win_share(standing.name, each.name) for each in below]
        against = "".join(f"{s.value:.0%} ({s.low:.0%} to {s.high:.0%})" for s in share)
        line = f"{place + 1:>2} {standing.name:<{max(width, 10)}}  {span:<22}  {of:>6}  {against}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def _points(comparisons: Sequence[Comparison], names: Sequence[str]) -> Floats:
    """Return shape (n, n): what each got in points against each other."""
    number_of = {name: i for i, name in enumerate(names)}
    wins = np.zeros((len(names), len(names)))
    for comparison in comparisons:
        i, j = number_of[comparison.first], number_of[comparison.second]
        wins[i, j] += comparison.score
        wins[j, i] += 1.0 - comparison.score
    return wins


def _fit(wins: Floats, prior: float) -> tuple[Floats, Floats]:
    """Return the strengths with the imagined average at 0, and the Fisher information there."""
    games = wins + wins.T
    strengths = np.zeros(len(wins))
    for _ in range(MAX_STEPS):
        shares = _logistic(strengths[:, None] - strengths[None, :])
        alone = _logistic(strengths)
        gradient = (wins - games * shares).sum(axis=1) + prior * (1.0 - 2.0 * alone)
        weights = games * shares * (1.0 - shares)
        information = np.diag(weights.sum(axis=1) + 2.0 * prior * alone * (1.0 - alone)) - weights
        step = np.linalg.solve(information, gradient)
        if np.abs(step).max(initial=0.0) < TOLERANCE:
            break
        strengths = _climb(wins, prior, strengths, step)
    return strengths, information


def _climb(wins: Floats, prior: float, strengths: Floats, step: Floats) -> Floats:
    """Return the strengths after a step, halved until the likelihood does not fall."""
    before = _log_likelihood(wins, prior, strengths)
    while np.abs(step).max() > TOLERANCE:
        if _log_likelihood(wins, prior, strengths + step) >= before:
            return strengths + step
        step = step / 2.0
    return strengths


def _log_likelihood(wins: Floats, prior: float, strengths: Floats) -> float:
    leads = strengths[:, None] - strengths[None, :]
    imagined = np.logaddexp(0.0, strengths) + np.logaddexp(0.0, -strengths)
    return float(-(wins * np.logaddexp(0.0, -leads)).sum() - prior * imagined.sum())


def _logistic(lead: Floats | float) -> Floats:
    """Return 1 / (1 + exp(-lead)) without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * np.asarray(lead))))
