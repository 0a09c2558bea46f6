"""Whether drawn pictures repeat training pictures.

A drawn picture is called a copy if it is nearer to a training picture than that picture's own
nearest sibling is: the same thing in another look, the closest that is still another drawing.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from generation.metrics.distances import Features, distances

Numbers = npt.NDArray[np.int64]


def nearest(drawn: Features, training: Features) -> tuple[Numbers, Features]:
    """Return the nearest training picture of each drawn one, and its distance.

    Returns:
        Row numbers in `training` and Euclidean distances, shape (drawn,) each.
    """
    across = distances(drawn, training)
    numbers = across.argmin(axis=1)
    return numbers, np.take_along_axis(across, numbers[:, None], axis=1)[:, 0]


def sibling_distances(
    training: Features, concepts: Sequence[str], looks: Sequence[str]
) -> Features:
    """Return each training picture's distance to the nearest of its concept in another look.

    Args:
        training: Shape (pictures, features).
        concepts: What each shows.
        looks: How each is drawn.

    Returns:
        Shape (pictures,); NaN for a concept that has one look only.
    """
    members: dict[str, list[int]] = {}
    for number, concept in enumerate(concepts):
        members.setdefault(concept, []).append(number)
    look_of = np.array(looks)
    found = np.full(len(training), np.nan)
    for numbers in members.values():
        within = distances(training[numbers], training[numbers])
        within[look_of[numbers][:, None] == look_of[numbers][None, :]] = np.inf
        found[numbers] = within.min(axis=1)
    found[np.isinf(found)] = np.nan
    return found


def copies(numbers: Numbers, distance: Features, siblings: Features) -> Features:
    """Return 1 for each copy, 0 for what is none, NaN where there is no sibling to compare with.

    Args:
        numbers: Nearest training picture of each drawn one.
        distance: Distance to it.
        siblings: Of every training picture, see `sibling_distances`.
    """
    limits = siblings[numbers]
    return np.where(np.isnan(limits), np.nan, (distance < limits).astype(np.float64))
