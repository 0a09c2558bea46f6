"""Change what the discriminator sees, real and generated alike, so that it cannot memorise.

Source: Zhao et al., Differentiable Augmentation for Data-Efficient GAN Training, arXiv 2006.10738,
section 3.2 and its official code (DiffAugment). Unlike changes of the training pictures alone these
do not leak into what is generated.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

POLICIES = ("colour", "translation", "cutout")
TRANSLATION = 1 / 8  # of the side, each way
CUTOUT = 1 / 2  # of the side


def augment(pictures: Tensor, policy: Sequence[str], generator: torch.Generator) -> Tensor:
    """Change each picture by chance; gradients reach the pictures.

    Args:
        pictures: Shape (n, 3, side, side) in [-1, 1].
        policy: Some of `POLICIES`.
        generator: On the CPU.

    Returns:
        float32 of the same shape; 0 outside of the picture and in its hole.
    """
    count, _, side, _ = pictures.shape
    # All the chance at once: a picture gets the same numbers whatever the policy is.
    chance = torch.rand((7, count), generator=generator).to(pictures.device)
    changed = pictures.float()
    if "colour" in policy:
        changed = _recolour(changed, chance[:3, :, None, None, None])
    if "translation" in policy:
        changed = _translate(changed, round(side * TRANSLATION), chance[3:5])
    if "cutout" in policy:
        changed = changed * _kept(side, chance[5:7])[:, None]
    return changed


def _recolour(pictures: Tensor, chance: Tensor) -> Tensor:
    """Change brightness by up to 0.5, saturation by 0 to 2, contrast by 0.5 to 1.5."""
    brightness, saturation, contrast = chance
    pictures = pictures + (brightness - 0.5)
    grey = pictures.mean(1, keepdim=True)
    pictures = grey + (pictures - grey) * (2 * saturation)
    mean = pictures.mean((1, 2, 3), keepdim=True)
    return mean + (pictures - mean) * (contrast + 0.5)


def _translate(pictures: Tensor, most_px: int, chance: Tensor) -> Tensor:
    """Move by whole pixels."""
    count, _, side, _ = pictures.shape
    shifts_px = (chance * (2 * most_px + 1)).floor().clamp(max=2 * most_px) - most_px
    matrix = torch.eye(2, 3, device=pictures.device).repeat(count, 1, 1)
    matrix[:, :, 2] = 2 * shifts_px.T / side  # `affine_grid` counts the side as 2
    grid = F.affine_grid(matrix, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, mode="nearest", align_corners=False)


def _kept(side: int, chance: Tensor) -> Tensor:
    """Return 0 in a square with its centre anywhere, 1 elsewhere: (n, side, side)."""
    half = side * CUTOUT / 2
    places = torch.arange(side, device=chance.device) + 0.5
    is_near = (places - chance[:, :, None] * side).abs() < half
    return 1 - (is_near[0][:, :, None] & is_near[1][:, None, :]).float()
