"""How different the pictures of one prompt are from each other."""

from generation.learning.metrics.distances import Features, distances


def mean_pairwise_distance(features: Features) -> float:
    """Return the mean Euclidean distance of all pairs of at least two pictures."""
    count = len(features)
    return float(distances(features, features).sum() / (count * (count - 1)))
