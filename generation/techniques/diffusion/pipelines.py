"""Checkpoints of any other family, each drawn whole by its own diffusers pipeline.

One picture at a time: at the sizes these are made for, a batch wins nothing (1.02x at 1024 px),
and a picture alone cannot depend on any other.
"""

import inspect
import io
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers import AutoPipelineForImage2Image, DiffusionPipeline
from PIL import Image

from generation.techniques import protocol
from generation.techniques.device import DeviceChoice
from generation.techniques.diffusion.readers import TextArguments
from generation.work.checkpoints import Checkpoint
from generation.work.errors import InvalidRequest, OutOfMemory
from generation.work.orders import Order
from generation.work.remarks import Remark
from generation.work.requests.imagine import Imagine
from generation.work.results import (
    DrawnImage,
    EngineFingerprint,
    ImagesDone,
    OrderCancelled,
    StepDone,
    failed,
)


class WholePipeline:
    """The technique of checkpoints without a loop of ours: SDXL, SD3, Flux and the rest.

    Args:
        checkpoint: Which.
        choice: Where and how to draw.
        pipeline: Loaded, on its device.
        fingerprint: Of this combination.
        previews: Whether slow steps come with a preview.
    """

    max_images = 1

    def __init__(
        self,
        checkpoint: Checkpoint,
        choice: DeviceChoice,
        pipeline: DiffusionPipeline,
        fingerprint: EngineFingerprint,
        *,
        previews: bool,
    ) -> None:
        self.checkpoint = checkpoint
        self._choice = choice
        self._pipeline = pipeline
        self._from_image: DiffusionPipeline | None = None
        self._previews = previews
        self._texts = TextArguments(checkpoint, pipeline)
        self.fingerprint = EngineFingerprint({**fingerprint.fields, "micro_batch": "1"})

    def halve_batch(self) -> bool:
        """Return False: it is one picture at a time already."""
        return False

    def remarks(self, request: Imagine) -> tuple[Remark, ...]:
        """Return where its texts are cut."""
        return self._texts.cuts(request)

    def draw(
        self,
        orders: Sequence[Order],
        report: protocol.Report,
        is_cancelled: protocol.IsCancelled,
    ) -> None:
        """Draw the orders one after the other; see `protocol.Technique`."""
        for order in orders:
            try:
                self._draw_order(order, report, is_cancelled)
            except InvalidRequest as error:
                report(failed(order.job_id, error))
            except torch.OutOfMemoryError as error:
                raise OutOfMemory("the device has no room for a picture of this size") from error

    def _draw_order(
        self, order: Order, report: protocol.Report, is_cancelled: protocol.IsCancelled
    ) -> None:
        started_at_s = time.monotonic()
        progress = Progress(order, report, is_cancelled, self._preview if self._previews else None)
        images = []
        for index in range(order.request.num_candidates):
            image = self._draw_image(order, index, progress)
            if progress.is_stopped:
                report(OrderCancelled(order.job_id))
                return
            images.append(image)
        elapsed_s = time.monotonic() - started_at_s
        report(ImagesDone(order.job_id, tuple(images), self.fingerprint, elapsed_s))

    def _draw_image(self, order: Order, index: int, progress: "Progress") -> DrawnImage:
        request = order.request
        pipeline = self._pipeline_for(request)
        arguments = self._arguments(order, pipeline)
        generator = torch.Generator("cpu").manual_seed(request.seed_of(index))
        progress.begin_image()
        output = pipeline(
            **arguments,
            generator=[generator],
            callback_on_step_end=progress,
            output_type="pil",
        )
        png = b"" if progress.is_stopped else protocol.encode_png(output.images[0].convert("RGB"))
        seed = request.seed_of(index)
        return DrawnImage(index, seed, request.width, request.height, png)

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
        if order.start_png is not None:
            with Image.open(io.BytesIO(order.start_png), formats=("PNG",)) as opened:
                fitted = protocol.fit(opened.convert("RGB"), request.width, request.height)
            # Never less than one step; see `Imagine.start_step`.
            least = min(1.0, (1 + 1e-6) / request.num_inference_steps)
            strength = max(request.strength, least)
            arguments |= {"image": [fitted], "strength": strength}
        known = inspect.signature(type(pipeline).__call__).parameters
        if "negative_prompt" in arguments and "negative_prompt" not in known:
            allowed = f"left out: {self.checkpoint.name} takes none"
            raise InvalidRequest("negative_prompt", "…", allowed)
        return {name: value for name, value in arguments.items() if name in known}

    def _preview(self, pipeline: Any, latents: torch.Tensor) -> bytes | None:
        """Return the picture so far; None where latents are packed in a family's own way."""
        if latents.ndim != 4:
            return None
        vae = pipeline.vae
        shift = getattr(vae.config, "shift_factor", None) or 0.0
        with torch.inference_mode():
            scaled = (latents / vae.config.scaling_factor + shift).to(vae.dtype)
            pixels = vae.decode(scaled, return_dict=False)[0].float()
        image = pipeline.image_processor.postprocess(pixels)[0]
        return protocol.encode_preview(image)


class Progress:
    """Follows one order through its pictures; diffusers calls it at the end of each step.

    The order's progress is told over all its pictures, which are drawn one after the other.
    """

    def __init__(
        self,
        order: Order,
        report: protocol.Report,
        is_cancelled: protocol.IsCancelled,
        preview: Callable[[Any, torch.Tensor], bytes | None] | None,
    ) -> None:
        self.is_stopped = False
        self._order, self._report, self._is_cancelled = order, report, is_cancelled
        self._preview = preview
        steps = order.request.num_inference_steps - order.request.start_step
        self._total = steps * order.request.num_candidates
        self._done = 0
        self._step_at_s = 0.0

    def begin_image(self) -> None:
        """Start the clock of the first step."""
        self._step_at_s = time.monotonic()

    def __call__(
        self, pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        """Report a step and stop the pipeline if the job was cancelled."""
        if self._is_cancelled(self._order.job_id):
            self.is_stopped = True
            pipeline._interrupt = True  # how diffusers documents stopping from a callback
            return {}
        self._done = min(self._done + 1, self._total)
        step_s = time.monotonic() - self._step_at_s
        preview = None
        if self._preview is not None and step_s > protocol.PREVIEW_FROM_S:
            preview = self._preview(pipeline, tensors["latents"])
        self._report(StepDone(self._order.job_id, self._done, self._total, preview))
        self._step_at_s = time.monotonic()
        return {}
