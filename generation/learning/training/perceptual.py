"""How different two pictures look to a trained scorer, rather than pixel by pixel."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from generation.judging.scorer.model import Scorer
from generation.learning.recipes.work import Work
from generation.learning.training.run import Placement
from generation.learning.training.scorer import KIND, read


def open_eye(work: Work, at: Placement) -> Scorer:
    """Return the preset's trained scorer, frozen, where and as the trainer computes.

    The scorer has seen most pictures that generators must not see, so distances in its features
    flatter what was trained with it: compare only checkpoints that were all trained so.

    Raises:
        CheckpointMissing: The scorer was not trained yet, or is damaged.
    """
    scorer = read(work.checkpoint(KIND)).requires_grad_(requires_grad=False)
    # Torch's own `to`: diffusers' warns of modules to keep in float32, of which there are none.
    nn.Module.to(scorer, device=at.device, dtype=at.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return scorer


def perceptual_distance(scorer: Scorer, pictures: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared distance of unit feature vectors over places and stages.

    Source: Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric,
    arXiv 1801.03924, equation 1, with all channels weighed alike.

    Args:
        pictures: Shape (n, 3, height, width) in [-1, 1]; gradients reach them.
        targets: The same shape.

    Returns:
        float32, from 0 for equal pictures to 4.
    """
    with torch.no_grad():
        wanted = scorer.stages(targets)
    distances = [
        (functional.normalize(seen.float()) - functional.normalize(goal.float()))
        .square()
        .sum(1)
        .mean()
        for seen, goal in zip(scorer.stages(pictures), wanted, strict=True)
    ]
    return torch.stack(distances).mean()
