"""The relativistic pairing loss and the gradient penalties that keep it stable.

Source: Huang et al., The GAN is dead; long live the GAN! A Modern Baseline GAN, arXiv 2501.05441.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor


def pairing_loss(scores: Tensor, others: Tensor) -> Tensor:
    """Return how far `scores` are from beating `others`, each against its partner.

    The discriminator wants real above generated, the generator wants generated above real; a
    generator that drops a picture cannot win that picture's pair.

    Source: arXiv 2501.05441, equation 2 with f(t) = -log(1 + exp(-t)).

    Args:
        scores: Shape (n,), of those that should be the higher.
        others: Shape (n,), their partners.

    Returns:
        A number; log 2 where nobody is ahead.
    """
    return F.softplus(others.float() - scores.float()).mean()


def gradient_penalties(scores: Tensor, pictures: Tensor) -> Tensor:
    """Return the squared length of each score's gradient to its own picture, differentiable.

    The mean over real pictures is R1, over generated ones R2 (the recipe's weight is gamma / 2).
    Taken at what the discriminator sees, after augmentation.

    Source: arXiv 2501.05441, equation 3.

    Args:
        scores: Shape (n,), computed from `pictures`, each from its own alone.
        pictures: Shape (n, ...), with gradient.

    Returns:
        float32 of shape (n,).
    """
    (slopes,) = torch.autograd.grad(scores.sum(), pictures, create_graph=True)
    return slopes.float().square().flatten(1).sum(1)
