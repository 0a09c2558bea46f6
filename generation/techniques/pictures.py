"""From latents over pixels to a picture: the one place where numbers of a network become one."""

from typing import Any

import torch
from PIL import Image
from torch.nn import functional

from generation.work.errors import NoPicture

FRAMES = 5  # dimensions of tensors of autoencoders that were made for films
PREVIEW_LATENTS = 32  # a side; 256 pixels with the usual autoencoders, all that is shown


def numbers(pixels: torch.Tensor) -> torch.Tensor:
    """Return pixels in float32, from which levels of colour may be made.

    Raises:
        NoPicture: Something in them is no number; rounding would make black of that.
    """
    if not torch.isfinite(pixels).all():
        raise NoPicture("the pixels hold values that are no numbers")
    return pixels.float()


def picture_of(pixels: torch.Tensor, image_processor: Any) -> Image.Image:
    """Return the RGB picture of what a network drew.

    Args:
        pixels: [1, 3, height, width], from -1 to 1; what goes beyond is cut off.
        image_processor: diffusers'.

    Raises:
        NoPicture: Something in it is no number.
    """
    image: Image.Image = image_processor.postprocess(numbers(pixels))[0]
    return image.convert("RGB")


def decoded(pipeline: Any, latents: torch.Tensor) -> Image.Image:
    """Return the picture that a pipeline's autoencoder makes of latents, scaled as it wants them.

    Args:
        pipeline: diffusers', of any class.
        latents: [1, channels, height, width], or with one frame before the height.

    Raises:
        NoPicture: Something in it is no number.
    """
    vae = pipeline.vae
    pixels = vae.decode(latents.to(vae.dtype), return_dict=False)[0]
    if pixels.ndim == FRAMES:
        pixels = pixels[:, :, 0]
    if getattr(pipeline, "safety_checker", None) is not None:
        pixels = _as_its_checker_wants(pipeline, pixels)
    return picture_of(pixels, pipeline.image_processor)


def _as_its_checker_wants(pipeline: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Return black in the place of what a checkpoint's own safety checker objects to."""
    dtype = pipeline.safety_checker.dtype
    _, objects = pipeline.run_safety_checker(pixels.clone(), pixels.device, dtype)
    return torch.full_like(pixels, -1.0) if objects and objects[0] else pixels


def shrunk(latents: torch.Tensor) -> torch.Tensor:
    """Return latents of which a decoder makes no more than a preview shows, in a part of the time.

    Args:
        latents: [1, channels, height, width], or with one frame before the height.
    """
    longest = max(latents.shape[-2:])
    if longest <= PREVIEW_LATENTS:
        return latents
    height, width = (max(1, side * PREVIEW_LATENTS // longest) for side in latents.shape[-2:])
    flat = latents.flatten(1, -3).float()
    small = functional.interpolate(flat, size=(height, width), mode="area")
    return small.reshape(*latents.shape[:-2], height, width)


def unscaled(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """Return latents as `vae` decodes them, from how a denoiser has them.

    Source: diffusers, the last lines of its pipelines: mean and deviation where the autoencoder
    has them, a factor and a shift elsewhere.
    """
    config = vae.config
    factor = getattr(config, "scaling_factor", None) or 1.0
    mean, deviation = (getattr(config, name, None) for name in ("latents_mean", "latents_std"))
    if mean is None or deviation is None:
        return latents / factor + (getattr(config, "shift_factor", None) or 0.0)
    shape = (1, -1, *[1] * (latents.ndim - 2))
    means, deviations = (torch.tensor(v).view(shape).to(latents) for v in (mean, deviation))
    return latents * deviations / factor + means
