"""Distances between all pictures of two sets of features."""

import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.float64]
"""One row a picture: shape (pictures, features)."""


def distances(rows: Features, columns: Features) -> Features:
    """Return Euclidean distances, shape (rows, columns).

    Written as |a|² + |b|² - 2ab: one matrix product. In float64 the cancellation costs about
    1e-8 of a vector's length, far below any distance that is looked at.
    """
    squares = (rows**2).sum(axis=1)[:, None] + (columns**2).sum(axis=1)[None, :]
    squared: Features = squares - 2 * rows @ columns.T
    return np.sqrt(np.maximum(squared, 0))
