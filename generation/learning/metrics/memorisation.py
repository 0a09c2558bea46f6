"""Whether drawn pictures repeat training pictures.

A drawn picture is called a copy if it lies nearer to a training picture than any other training
picture does. Fresh pictures of the same kind do so in half (of many dimensions) to two thirds (of
one dimension) of all cases, so that is the mark, not zero.

Source: Alaa et al., How Faithful is your Synthetic Data?, arXiv 2102.08921, section 3.3
(authenticity is the share that are *no* copies); the mark is the share of mutual nearest
neighbours: Clark and Evans, On Some Aspects of Spatial Pattern in Biological Populations (1955).

Another rule asks whether it lies nearer to a training picture than that picture's nearest sibling:
the same thing in another look.
"""

import numpy as np
import numpy.typing as npt

from generation.learning.metrics.distances import Features, distances

Numbers = npt.NDArray[np.int64]
BLOCK = 1024


def nearest(drawn: Features, training: Features) -> tuple[Numbers, Features]:
    """Return the nearest training picture of each drawn one, and its distance.

    Returns:
        Row numbers in `training` and Euclidean distances, shape (drawn,) each.
    """
    return nearest_of(distances(drawn, training))


def nearest_of(across: Features) -> tuple[Numbers, Features]:
    """Return each row's smallest distance and its column; infinity where none is to be found."""
    numbers = across.argmin(axis=1)
    return numbers, np.take_along_axis(across, numbers[:, None], axis=1)[:, 0]


def neighbours(training: Features) -> tuple[Numbers, Features]:
    """Return each training picture's nearest other, and its distance, shape (pictures,) each."""
    numbers, distance = np.empty(len(training), np.int64), np.empty(len(training))
    for start in range(0, len(training), BLOCK):  # 17,000 pictures at once would take 2 GB
        block = training[start : start + BLOCK]
        across = distances(block, training)
        own = np.arange(len(block))
        across[own, start + own] = np.inf
        part = slice(start, start + BLOCK)
        numbers[part], distance[part] = nearest_of(across)
    return numbers, distance


def left_out(numbers: Numbers) -> Features:
    """Return 1 for each training picture that would be a copy if it had not been one of them.

    It would lie nearer to its neighbour than any other does: they are each other's nearest.

    Args:
        numbers: The nearest other of every training picture, see `neighbours`.
    """
    return np.where(numbers[numbers] == np.arange(len(numbers)), 1.0, 0.0)


def sibling_distances(
    training: Features, things: Numbers, looks: Numbers, numbers: Numbers, without: Numbers
) -> Features:
    """Return how far some training pictures are from the nearest one of their thing elsewhere.

    Elsewhere is in another look. A picture whose thing is in no other look, as of a made scene, is
    held against the nearest picture of anything there; NaN where there is none.

    Args:
        training: Of every training picture, shape (pictures, features).
        things: What each shows, as a number.
        looks: The look of each, as a number.
        numbers: Which training pictures, shape (n,).
        without: For each of these, a training picture that does not count, or -1; shape (n,).
    """
    found = np.empty(len(numbers))
    for start in range(0, len(numbers), BLOCK):
        part = slice(start, start + BLOCK)
        chosen, absent = numbers[part], without[part]
        across = distances(training[chosen], training)
        across[looks[chosen][:, None] == looks[None, :]] = np.inf
        is_absent = absent >= 0
        across[is_absent, absent[is_absent]] = np.inf
        is_same = things[chosen][:, None] == things[None, :]
        same = np.where(is_same, across, np.inf).min(axis=1)
        found[part] = np.where(np.isfinite(same), same, across.min(axis=1))
    return np.where(np.isfinite(found), found, np.nan)


def copies(numbers: Numbers, distance: Features, neighbour_distance: Features) -> Features:
    """Return 1 for each copy and 0 for what is none.

    Args:
        numbers: Nearest training picture of each drawn one.
        distance: Distance to it.
        neighbour_distance: Of every training picture, see `neighbours`.
    """
    return (distance < neighbour_distance[numbers]).astype(np.float64)
