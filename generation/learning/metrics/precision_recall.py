"""Precision and recall of a generator by nearest neighbours.

Source: Kynkäänniemi et al., Improved Precision and Recall Metric for Assessing Generative Models,
arXiv 1904.06991, equations 1 and 2; without the wider half of the balls, as in its section 5.
"""

import numpy as np

from generation.learning.metrics.distances import Features, distances


def precision_recall(real: Features, drawn: Features, k: int = 3) -> tuple[float, float]:
    """Return how much of the drawn looks real, and how much of the real can be drawn.

    A picture lies in a set's manifold if it is no farther from one of the set's pictures than that
    picture's k-th nearest neighbour in the set. Pictures that are far from all others span balls so
    wide that pure noise lies in them; the half with the wider balls therefore spans none, and even
    a perfect generator stays well below 1: compare with what real pictures get.

    Args:
        real: More than `k` pictures.
        drawn: More than `k` pictures.
        k: Which neighbour spans the ball around a picture; itself not counted.

    Returns:
        Precision and recall, each from 0 to 1.
    """
    across = distances(real, drawn)
    precision = (across <= _radii(real, k)[:, None]).any(axis=0).mean()
    recall = (across <= _radii(drawn, k)[None, :]).any(axis=1).mean()
    return float(precision), float(recall)


def _radii(features: Features, k: int) -> Features:
    """Return each picture's distance to its k-th nearest other; below 0 for the wider half."""
    within = distances(features, features)
    np.fill_diagonal(within, -1)  # itself comes first, whatever rounding says
    radii: Features = np.partition(within, k, axis=1)[:, k]
    return np.where(radii <= np.median(radii), radii, -1.0)
