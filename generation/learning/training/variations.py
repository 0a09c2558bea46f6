"""What can be done with the latents of pictures, row by row, for a sheet."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

SUBTLE, STRONG = 0.25, 0.55


def rows(
    names: Sequence[str],
    pictures: Tensor,
    encode: Callable[[Tensor], Tensor],
    decode: Callable[[Tensor], Tensor],
    noise_like: Callable[[Tensor], Tensor],
) -> tuple[Tensor, list[str]]:
    """Return pictures, the same rebuilt, varied subtly and strongly, and the first turned into the last.

    Args:
        names: One a picture.
        pictures: Shape (n, 3, side, side) in [-1, 1].
        encode: Pictures to latents.
        decode: Latents to pictures.
        noise_like: Latents to noise of their shape and variance.

    Returns:
        Shape (5 n, 3, side, side) in [-1, 1], row after row, and their labels.
    """
    latents, count = encode(pictures), len(pictures)
    shares = torch.linspace(0, 1, count).tolist()
    blends = torch.stack([torch.lerp(latents[0], latents[-1], share) for share in shares])
    noise = noise_like(latents)
    every = [pictures, *map(decode, (latents, varied(latents, noise, SUBTLE)))]
    every += map(decode, (varied(latents, noise, STRONG), blends))
    labels = [*names, *["rebuilt"] * count, *[f"varied {SUBTLE:g}"] * count]
    labels += [*[f"varied {STRONG:g}"] * count, *(f"blend {share:.2f}" for share in shares)]
    return torch.cat([part.clamp(-1, 1).float() for part in every]), labels


def varied(latents: Tensor, noise: Tensor, strength: float) -> Tensor:
    """Move latents towards noise and keep their variance.

    Args:
        strength: 0 leaves them as they are, 1 leaves nothing of them.
    """
    return math.sqrt(1 - strength**2) * latents + strength * noise
