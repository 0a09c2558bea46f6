"""Whether a picture can be told from its caption among others: recall at 1."""

import numpy as np
import numpy.typing as npt

from generation.learning.metrics.distances import Features


def recall_at_1(
    pictures: Features, texts: Features, own: npt.NDArray[np.int64], among: int
) -> Features:
    """Return each picture's chance that its own caption beats `among` - 1 others drawn by lot.

    This is the mean over *all* draws of distractors, in closed form, so it has no noise of its
    own: if `better` of the other captions are at least as similar as the own one, the lots must
    avoid them all (hypergeometric distribution). A tie counts as lost.

    Source: Xu et al., AttnGAN, arXiv 1711.10485, section 4.1 (R-precision with R = 1).

    Args:
        pictures: Shape (pictures, features), unit length.
        texts: Shape (captions, features), unit length; no caption twice.
        own: Each picture's caption, shape (pictures,).
        among: Captions to choose from, the own one included; at most as many as there are.

    Returns:
        Shape (pictures,), from 0 to 1.
    """
    similarities = pictures @ texts.T
    own_similarities = np.take_along_axis(similarities, own[:, None], axis=1)
    better = (similarities >= own_similarities).sum(axis=1) - 1  # itself counted once
    others = len(texts) - 1
    already = np.arange(others)
    avoided = np.maximum(others - (among - 1) - already, 0) / (others - already)
    chances = np.concatenate(([1.0], np.cumprod(avoided)))
    found: Features = chances[better]
    return found
