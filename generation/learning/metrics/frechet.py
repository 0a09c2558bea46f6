"""Fréchet distance between the Gaussians that fit two sets of features.

Source: Heusel et al., GANs Trained by a Two Time-Scale Update Rule, arXiv 1706.08500, equation 6;
Dowson and Landau, The Fréchet distance between multivariate normal distributions (1982).
"""

import math
from dataclasses import dataclass

import numpy as np

from generation.learning.metrics.distances import Features


@dataclass(frozen=True, slots=True)
class Gaussian:
    """A normal distribution by its mean and a root of its covariance.

    Attributes:
        mean: Shape (features,).
        root: Shape (rank, features); `root.T @ root` is the covariance.
    """

    mean: Features
    root: Features


def fit(features: Features) -> Gaussian:
    """Fit a Gaussian to at least two pictures.

    The root comes from a QR decomposition of the centred features. The covariance itself is never
    formed, so nothing is lost with fewer pictures than features, where it is singular.
    """
    mean = features.mean(axis=0)
    _, triangle = np.linalg.qr(features - mean)
    return Gaussian(mean, triangle / math.sqrt(len(features) - 1))


def between(first: Gaussian, second: Gaussian) -> float:
    """Return |μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁Σ₂)^½), at least 0.

    With Σ = RᵀR the eigenvalues of Σ₁Σ₂ are the squared singular values of R₁R₂ᵀ, so the trace of
    the root is their sum: no root of a matrix is needed.
    """
    means = ((first.mean - second.mean) ** 2).sum()
    traces = (first.root**2).sum() + (second.root**2).sum()
    common = np.linalg.svd(first.root @ second.root.T, compute_uv=False).sum()
    return max(0.0, float(means + traces - 2 * common))


def frechet_distance(first: Features, second: Features) -> float:
    """Return the squared Fréchet distance of two sets, at least two pictures each."""
    return between(fit(first), fit(second))
