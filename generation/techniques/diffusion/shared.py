"""What a pipeline is given in the place of its own parts while it draws one picture.

Pipelines note on themselves what they draw, and schedulers hold state, so each picture has a copy
of both. The weights are everybody's, and what all pictures of an order have in common is computed
once: the texts' embeddings, and the picture that they start from. An autoencoder that is asked to
decode hands the latents out instead: whoever drew them decodes them when the steps are done.
"""

import copy
import itertools
from collections.abc import Callable
from typing import Any

import torch


class Decoding(Exception):
    """All steps are done.

    Args:
        latents: As the autoencoder was to decode them, unpacked and scaled by the pipeline.
    """

    def __init__(self, latents: torch.Tensor) -> None:
        super().__init__()
        self.latents = latents


class Shared:
    """What the pictures of one order have in common, once the first has computed it."""

    def __init__(self) -> None:
        self._results: dict[tuple[str, int], Any] = {}

    def once(self, name: str, compute: Callable[..., Any]) -> Callable[..., Any]:
        """Return a stand-in for one picture: its first call gets what others' first call got.

        Pictures of an order differ in their chance only, so their n-th calls are the same.
        """
        numbers = itertools.count()

        def remembered(*args: Any, **kwargs: Any) -> Any:
            key = name, next(numbers)
            if key not in self._results:
                self._results[key] = compute(*args, **kwargs)
            return self._results[key]

        return remembered

    def copy_of(self, pipeline: Any) -> Any:
        """Return a copy of a pipeline for one picture."""
        own, vae = copy.copy(pipeline), copy.copy(pipeline.vae)
        own.scheduler = copy.deepcopy(pipeline.scheduler)
        own.encode_prompt = self.once("encode_prompt", pipeline.encode_prompt)
        vae.encode = self.once("encode", _in_format_of(pipeline.vae))
        vae.decode = _hand_out
        own.vae = vae
        return own


def _hand_out(latents: torch.Tensor, *args: Any, **kwargs: Any) -> None:
    raise Decoding(latents)


def _in_format_of(vae: Any) -> Callable[..., Any]:
    """Return `vae.encode` of pictures in whatever number format they come, told in that format."""

    def encode(pixels: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        encoded = vae.encode(pixels.to(vae.dtype), *args, **kwargs)
        distribution = getattr(encoded, "latent_dist", None)
        if distribution is not None and distribution.parameters.dtype != pixels.dtype:
            parameters = distribution.parameters.to(pixels.dtype)
            encoded.latent_dist = type(distribution)(parameters)
        return encoded

    return encode
