"""How much pictures repeat what was trained on, in one way of measuring distances."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from generation.learning.dataset.stored import Row
from generation.learning.metrics import memorisation
from generation.learning.metrics.distances import Features
from generation.learning.metrics.memorisation import Numbers

NEW = -1  # the place of a picture that is not among those trained on


@dataclass(frozen=True)
class Trained:
    """Everything that was trained on, made scenes too.

    Attributes:
        features: Shape (pictures, features).
        things: What each shows, as a number.
        looks: The look of each, as a number.
    """

    features: Features
    things: Numbers
    looks: Numbers

    @functools.cached_property
    def neighbours(self) -> tuple[Numbers, Features]:
        """Every picture's nearest other, and its distance."""
        return memorisation.neighbours(self.features)

    def copies(self, pictures: Features, places: Numbers) -> tuple[Features, Features]:
        """Say which pictures repeat one that was trained on, by two rules.

        Args:
            pictures: Shape (n, features).
            places: Where each is itself among those trained on and so left out, or `NEW`.

        Returns:
            1 for what lies nearer to a training picture than any other of these does, else 0; and 1
            for what lies nearer to one than its sibling in another look does, else 0, NaN where
            there is no other look.
        """
        nearest_other, neighbour_distance = self.neighbours
        numbers, distance = memorisation.nearest(pictures, self.features)
        copied = memorisation.copies(numbers, distance, neighbour_distance)
        is_own = places != NEW
        own = places[is_own]
        copied[is_own] = memorisation.left_out(nearest_other)[own]
        numbers[is_own], distance[is_own] = nearest_other[own], neighbour_distance[own]
        siblings = memorisation.sibling_distances(
            self.features, self.things, self.looks, numbers, places
        )
        nearer = np.where(np.isnan(siblings), np.nan, distance < siblings)
        return copied, nearer


def trained(rows: Sequence[Row], features: Features) -> Trained:
    """Return what was trained on: `rows`, and their features in the same order."""
    things = {row.concept: number for number, row in enumerate(rows)}
    looks = {row.look: number for number, row in enumerate(rows)}
    return Trained(
        features,
        np.array([things[row.concept] for row in rows], np.int64),
        np.array([looks[row.look] for row in rows], np.int64),
    )
