"""The Inception Score's definition, for any classifier."""

import numpy as np

from generation.learning.metrics.distances import Features


def inception_score(probabilities: Features) -> float:
    """Return exp of the mean divergence of each picture's classes from all pictures' classes.

    From 1 (every picture says the same) to the number of classes (sure of each, and all occur).

    Source: Salimans et al., Improved Techniques for Training GANs, arXiv 1606.03498, section 4.

    Args:
        probabilities: Shape (pictures, classes); each row sums to 1.
    """
    marginal = probabilities.mean(axis=0)
    # A class that no picture has adds nothing: 0 log 0 = 0.
    ratio = np.divide(
        probabilities, marginal, out=np.ones_like(probabilities), where=probabilities > 0
    )
    divergences = (probabilities * np.log(ratio)).sum(axis=1)
    return float(np.exp(divergences.mean()))
