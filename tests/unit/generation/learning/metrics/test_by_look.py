"""Figures of each look are those of its own pictures alone."""

import numpy as np

from generation.learning.metrics.by_look import LookFigures, by_look


def test_each_look_gets_the_mean_of_its_own_pictures() -> None:
    looks = ["flat", "noto", "flat", "flat"]
    found = by_look(looks, np.array([1.0, 0.5, 0.0, 0.5]), np.array([1.0, 0.0, 1.0, 1.0]))
    assert found == {"flat": LookFigures(0.5, 1.0, 3), "noto": LookFigures(0.5, 0.0, 1)}
    assert list(found) == ["flat", "noto"]
