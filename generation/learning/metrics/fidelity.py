"""How close a picture is to the one it should equal."""

import numpy as np

from generation.learning.metrics.distances import Features

MOST_PSNR = 100.0  # of equal pictures, whose ratio has no bound


def psnr(pictures: Features, originals: Features) -> Features:
    """Return each picture's peak signal-to-noise ratio in dB, at most 100.

    Args:
        pictures: Shape (pictures, values), range [0, 1].
        originals: The same.

    Returns:
        Shape (pictures,).
    """
    errors = ((pictures - originals) ** 2).mean(axis=1)
    ratios: Features = -10 * np.log10(np.maximum(errors, 10 ** (-MOST_PSNR / 10)))
    return ratios
