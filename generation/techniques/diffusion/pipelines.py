"""Checkpoints of any other family, each drawn whole by its own diffusers pipeline.

One picture at a time: at the sizes these are made for, a batch wins nothing (1.02x at 1024 px),
and a picture alone cannot depend on any other. What each class is asked with is in `families`.
"""

import inspect
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from diffusers import AutoPipelineForImage2Image, DiffusionPipeline
from PIL import Image

from generation.techniques import pictures, protocol
from generation.techniques.device import memory_bytes_of, out_of_memory_told
from generation.techniques.diffusion.families import OLD_CALLBACK, Family
from generation.techniques.diffusion.parked import Park, ParkedSlot
from generation.techniques.diffusion.readers import TextArguments
from generation.techniques.diffusion.shared import Decoding, Shared
from generation.techniques.fingerprint import UNDETERMINED
from generation.work.checkpoints import Checkpoint
from generation.work.errors import DrawingFailed, InvalidRequest
from generation.work.orders import Order
from generation.work.remarks import Remark
from generation.work.requests.imagine import Imagine
from generation.work.results import EngineFingerprint


class WholePipeline:
    """The technique of checkpoints without a loop of ours: SDXL, SD3, Flux and the rest.

    Args:
        checkpoint: Which.
        pipeline: Loaded, on its device.
        family: How its class is asked.
        fingerprint: Of this combination.
    """

    max_images = 1

    def __init__(
        self,
        checkpoint: Checkpoint,
        pipeline: DiffusionPipeline,
        family: Family,
        fingerprint: EngineFingerprint,
    ) -> None:
        self.checkpoint = checkpoint
        self.memory_bytes = memory_bytes_of(pipeline.components.values())
        self._pipeline = pipeline
        self._family = family
        self._from_image: DiffusionPipeline | None = None
        self._texts = TextArguments(checkpoint, pipeline)
        self._living: set[ParkedSlot] = set()
        self._fingerprint = fingerprint

    @property
    def fingerprint(self) -> EngineFingerprint:
        """Everything outside the request that its pictures' bits depend on."""
        return self._fingerprint.with_fields(micro_batch="1", undetermined=UNDETERMINED.operations)

    def shrink(self, times: int) -> bool:
        """Return whether that is the usual size: it is one picture at a time already."""
        return times == 0

    def begin(self, order: Order) -> list[ParkedSlot]:
        """Return one slot for each picture of an order; see `protocol.Technique`."""
        pipeline = self._pipeline_for(order.request)
        arguments = self._arguments(order, pipeline)
        shared = Shared()
        is_old = self._family.callback == OLD_CALLBACK  # called once a step, not a timestep
        timesteps = 1 if is_old else int(getattr(pipeline.scheduler, "order", 1))
        slots = []
        for index in range(order.request.num_candidates):
            generator = torch.Generator("cpu").manual_seed(order.request.seed_of(index))
            own = {**arguments, "generator": [generator]}
            draw = partial(_drawn, pipeline, shared, own, self._family.callback)
            slots.append(ParkedSlot(order, index, draw, timesteps))
        self._living.update(slots)
        return slots

    def step(self, slots: Sequence[ParkedSlot]) -> None:
        """Take each slot to the end of its next step."""
        with out_of_memory_told():
            for slot in slots:
                slot.advance()

    @torch.inference_mode()
    def pixels(self, slots: Sequence[ParkedSlot]) -> list[Image.Image]:
        """Return the slots' pictures, each decoded on its own."""
        with out_of_memory_told():
            images = [
                pictures.decoded(self._pipeline, slot.drawn)
                for slot in slots
                if slot.drawn is not None
            ]
        self._living.difference_update(slots)
        return images

    def remarks(self, request: Imagine) -> tuple[Remark, ...]:
        """Return where its texts are cut."""
        return self._texts.cuts(request)

    def drop(self, slots: Sequence[ParkedSlot]) -> None:
        """Have the slots' threads leave their pipelines at once."""
        for slot in slots:
            slot.leave()
        self._living.difference_update(slots)

    def close(self) -> None:
        """Give the weights back."""
        self.drop(list(self._living))
        del self._pipeline, self._from_image

    def _pipeline_for(self, request: Imagine) -> DiffusionPipeline:
        if request.start is None:
            return self._pipeline
        if not self._family.from_image:
            allowed = f"left out: {self.checkpoint.name} cannot start from a picture"
            raise InvalidRequest("image", request.start.sha256, allowed)
        if self._from_image is None:
            self._from_image = AutoPipelineForImage2Image.from_pipe(self._pipeline)
            self._from_image.set_progress_bar_config(disable=True)
        return self._from_image

    def _arguments(self, order: Order, pipeline: DiffusionPipeline) -> dict[str, Any]:
        """Return the request in the pipeline's own words."""
        request, family = order.request, self._family
        for name, side_px in (("width", request.width), ("height", request.height)):
            if side_px % family.size_multiple:
                raise InvalidRequest(name, side_px, f"a multiple of {family.size_multiple}")
        if len(request.prompts) > 1:
            raise InvalidRequest("prompts", len(request.prompts), "one without weights, here")
        if request.negative_prompt and not family.takes_negative:
            allowed = f"left out: {self.checkpoint.name} takes none"
            raise InvalidRequest("negative_prompt", "…", allowed)
        steps = request.num_inference_steps
        arguments: dict[str, Any] = {
            **self._texts.of(request),
            **family.guided(request.guidance_scale),
            **family.given,
            **family.given_at.get(steps, {}),
            "num_inference_steps": steps,
            "width": request.width,
            "height": request.height,
        }
        empty = family.negative_for(request.guidance_scale)
        if empty is not None and not request.negative_prompt:
            arguments["negative_prompt"] = [empty]
        if family.area:
            arguments[family.area] = request.width * request.height
        start = protocol.open_start(order)
        if start is not None:
            # Never less than one step; see `Imagine.start_step`.
            strength = max(request.strength, min(1.0, (1 + 1e-6) / steps))
            arguments |= {"image": [start], "strength": strength}
        # Those that start from a picture take its size.
        known = inspect.signature(type(pipeline).__call__).parameters
        return {name: value for name, value in arguments.items() if name in known}

    @torch.inference_mode()
    def preview(self, slot: ParkedSlot) -> Image.Image | None:
        """Return the picture so far; None where latents are packed in a family's own way."""
        if slot.latents is None:
            return None
        latents = unpacked(self._pipeline, slot.latents, slot.order.request)
        if latents is None:
            return None
        small = pictures.shrunk(pictures.unscaled(self._pipeline.vae, latents))
        return pictures.decoded(self._pipeline, small)


def unpacked(pipeline: Any, latents: torch.Tensor, request: Imagine) -> torch.Tensor | None:
    """Return latents as a picture's, from how transformers have them; None if nothing tells how."""
    if latents.ndim != PACKED:
        return latents
    if not hasattr(pipeline, "_unpack_latents"):
        return None
    unpack = pipeline._unpack_latents
    told = {"height": request.height, "width": request.width}
    told |= {"vae_scale_factor": pipeline.vae_scale_factor}
    known = inspect.signature(unpack).parameters
    picture: torch.Tensor = unpack(latents, **{name: told[name] for name in told if name in known})
    return picture


PACKED = 3  # dimensions of latents as transformers take them: [1, tokens, features]


def _drawn(
    pipeline: Any, shared: Shared, arguments: dict[str, Any], callback: str, park: Park
) -> torch.Tensor:
    """Return one picture's latents, drawn by a pipeline that is parked after each step."""

    def parked(step: int, timestep: Any, latents: torch.Tensor) -> None:
        park(None, step, timestep, {"latents": latents})

    called = parked if callback == OLD_CALLBACK else park
    try:
        shared.copy_of(pipeline)(**arguments, **{callback: called}, output_type="pt")
    except Decoding as done:
        return done.latents
    raise DrawingFailed(f"{type(pipeline).__name__} drew nothing that could be decoded")
