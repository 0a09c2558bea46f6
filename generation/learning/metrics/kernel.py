"""Kernel distance: squared maximum mean discrepancy with the cubic kernel, without bias.

Source: Bińkowski et al., Demystifying MMD GANs, arXiv 1801.01401, section 4 (the Kernel Inception
Distance, here on other features); Gretton et al., A Kernel Two-Sample Test (2012), equation 3.
"""

import numpy as np

from generation.learning.metrics.distances import Features


def kernel_distance(
    first: Features,
    second: Features,
    generator: np.random.Generator,
    subsets: int = 100,
    subset_size: int = 1000,
) -> float:
    """Return the mean unbiased squared MMD over random subsets; may fall below 0.

    Args:
        first: At least two pictures.
        second: At least two pictures.
        generator: Draws the subsets.
        subsets: How many; one is enough, and taken, when it holds everything.
        subset_size: Pictures of each set in a subset, at most.
    """
    if max(len(first), len(second)) <= subset_size:
        return unbiased_mmd(first, second)
    values = [
        unbiased_mmd(*(_some(each, subset_size, generator) for each in (first, second)))
        for _ in range(subsets)
    ]
    return float(np.mean(values))


def unbiased_mmd(first: Features, second: Features) -> float:
    """Return the unbiased estimate of the squared MMD of two sets, at least two pictures each."""
    within = _mean_off_diagonal(cubic_kernel(first, first))
    within += _mean_off_diagonal(cubic_kernel(second, second))
    return float(within - 2 * cubic_kernel(first, second).mean())


def cubic_kernel(rows: Features, columns: Features) -> Features:
    """Return (x·y / d + 1)³ of all pairs, shape (rows, columns)."""
    kernel: Features = (rows @ columns.T / rows.shape[1] + 1) ** 3
    return kernel


def _some(features: Features, count: int, generator: np.random.Generator) -> Features:
    if len(features) <= count:
        return features
    return features[generator.choice(len(features), count, replace=False)]


def _mean_off_diagonal(kernel: Features) -> float:
    count = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (count * (count - 1)))
