"""How often a classifier sees what was asked for."""

from collections.abc import Sequence

import numpy as np

from generation.learning.metrics.distances import Features


def hits(seen: Sequence[str], asked: Sequence[str]) -> Features:
    """Return 1 where what is seen is what was asked for, else 0; the mean is the accuracy."""
    return np.array([a == b for a, b in zip(seen, asked, strict=True)], np.float64)
