"""Checkpoints of any other family, each drawn whole by its own diffusers pipeline.

One picture at a time: at the sizes these are made for, a batch wins nothing (1.02x at 1024 px),
and a picture alone cannot depend on any other.
"""

import copy
import inspect
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from diffusers import AutoPipelineForImage2Image, DiffusionPipeline
from PIL import Image

from generation.techniques import protocol
from generation.techniques.device import DeviceChoice, memory_bytes_of, out_of_memory_told
from generation.techniques.diffusion.parked import Park, ParkedSlot
from generation.techniques.diffusion.readers import TextArguments
from generation.work.checkpoints import Checkpoint
from generation.work.errors import InvalidRequest
from generation.work.orders import Order
from generation.work.remarks import Remark
from generation.work.requests.imagine import Imagine
from generation.work.results import EngineFingerprint


class WholePipeline:
    """The technique of checkpoints without a loop of ours: SDXL, SD3, Flux and the rest.

    Args:
        checkpoint: Which.
        choice: Where and how to draw.
        pipeline: Loaded, on its device.
        fingerprint: Of this combination.
    """

    max_images = 1

    def __init__(
        self,
        checkpoint: Checkpoint,
        choice: DeviceChoice,
        pipeline: DiffusionPipeline,
        fingerprint: EngineFingerprint,
    ) -> None:
        self.checkpoint = checkpoint
        self.memory_bytes = memory_bytes_of(pipeline.components.values())
        self._choice = choice
        self._pipeline = pipeline
        self._from_image: DiffusionPipeline | None = None
        self._texts = TextArguments(checkpoint, pipeline)
        self._living: set[ParkedSlot] = set()
        self.fingerprint = EngineFingerprint({**fingerprint.fields, "micro_batch": "1"})

    def shrink(self, times: int) -> bool:
        """Return whether that is the usual size: it is one picture at a time already."""
        return times == 0

    def begin(self, order: Order) -> list[ParkedSlot]:
        """Return one slot for each picture of an order; see `protocol.Technique`."""
        pipeline = self._pipeline_for(order.request)
        arguments = self._arguments(order, pipeline)
        slots = [
            ParkedSlot(order, index, partial(_drawn, pipeline, arguments, order, index))
            for index in range(order.request.num_candidates)
        ]
        self._living.update(slots)
        return slots

    def step(self, slots: Sequence[ParkedSlot]) -> None:
        """Take each slot to the end of its next step."""
        with out_of_memory_told():
            for slot in slots:
                slot.advance()

    def pixels(self, slots: Sequence[ParkedSlot]) -> list[Image.Image]:
        """Return the pictures, which came with their last steps."""
        self._living.difference_update(slots)
        return [slot.image for slot in slots if slot.image is not None]

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
        if self._from_image is None:
            try:
                self._from_image = AutoPipelineForImage2Image.from_pipe(self._pipeline)
            except ValueError as error:
                allowed = f"left out: {self.checkpoint.name} cannot start from a picture"
                raise InvalidRequest("image", request.start.sha256, allowed) from error
            self._from_image.set_progress_bar_config(disable=True)
        return self._from_image

    def _arguments(self, order: Order, pipeline: DiffusionPipeline) -> dict[str, Any]:
        """Return the request in the pipeline's own words, without those it does not know."""
        request = order.request
        if len(request.prompts) > 1:
            raise InvalidRequest("prompts", len(request.prompts), "one without weights, here")
        arguments: dict[str, Any] = {
            **self._texts.of(request),
            "guidance_scale": request.guidance_scale,
            "num_inference_steps": request.num_inference_steps,
            "width": request.width,
            "height": request.height,
        }
        start = protocol.open_start(order)
        if start is not None:
            # Never less than one step; see `Imagine.start_step`.
            least = min(1.0, (1 + 1e-6) / request.num_inference_steps)
            strength = max(request.strength, least)
            arguments |= {"image": [start], "strength": strength}
        known = inspect.signature(type(pipeline).__call__).parameters
        if "negative_prompt" in arguments and "negative_prompt" not in known:
            allowed = f"left out: {self.checkpoint.name} takes none"
            raise InvalidRequest("negative_prompt", "…", allowed)
        return {name: value for name, value in arguments.items() if name in known}

    def preview(self, slot: ParkedSlot) -> Image.Image | None:
        """Return the picture so far; None where latents are packed in a family's own way."""
        latents, pipeline = slot.latents, self._pipeline
        if latents is None or latents.ndim != 4:
            return None
        vae: Any = pipeline.vae
        shift = getattr(vae.config, "shift_factor", None) or 0.0
        with torch.inference_mode():
            scaled = (latents / vae.config.scaling_factor + shift).to(vae.dtype)
            pixels = vae.decode(scaled, return_dict=False)[0].float()
        image: Image.Image = pipeline.image_processor.postprocess(pixels)[0]
        return image


def _drawn(
    pipeline: Any, arguments: dict[str, Any], order: Order, index: int, park: Park
) -> Image.Image:
    """Return one picture, drawn by a pipeline that is parked after each step.

    Others may draw meanwhile: pipelines note on themselves what they draw, and schedulers hold
    state, so both are its own. The weights are everybody's.
    """
    own = copy.copy(pipeline)
    own.scheduler = copy.deepcopy(pipeline.scheduler)
    generator = torch.Generator("cpu").manual_seed(order.request.seed_of(index))
    output = own(**arguments, generator=[generator], callback_on_step_end=park, output_type="pil")
    image: Image.Image = output.images[0].convert("RGB")
    return image
