"""How well a scorer does on real pictures, look by look."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from generation.learning.metrics.distances import Features


@dataclass(frozen=True, slots=True)
class LookFigures:
    """One look's pictures.

    Attributes:
        recall: Chance that a picture's own caption beats the others.
        look_accuracy: Share of pictures whose look is told.
        pictures: How many pictures these are.
    """

    recall: float
    look_accuracy: float
    pictures: int


def by_look(looks: Sequence[str], found: Features, hits: Features) -> dict[str, LookFigures]:
    """Return the means of each look's pictures, in the order in which the looks first occur.

    Args:
        looks: Of each picture.
        found: See `recall_at_1`, shape (pictures,).
        hits: 1 where the look was told, else 0; shape (pictures,).
    """
    each = np.array(looks)
    of_look = {look: each == look for look in dict.fromkeys(looks)}
    return {
        look: LookFigures(float(found[own].mean()), float(hits[own].mean()), int(own.sum()))
        for look, own in of_look.items()
    }
