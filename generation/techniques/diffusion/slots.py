"""Our own denoising loop for the Stable Diffusion 1 class, built around slots.

One slot is one picture: its latents, its own scheduler object, its place in the schedule. Each
turn of the loop moves every slot one step on, in micro-batches of a fixed size that are padded
with dummies, so that no picture depends on who shares its forward pass. Slots are independent of
each other and may join at any step boundary. Everything else is diffusers' own: encoding the
prompt, the schedulers, the autoencoder, the image processor.
"""

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image

from generation.techniques import pictures, protocol
from generation.techniques.device import DeviceChoice, memory_bytes_of, out_of_memory_told
from generation.techniques.diffusion.prompts import PromptEncoder
from generation.techniques.diffusion.readers import readers_of
from generation.techniques.diffusion.slot import Slot, timesteps_of
from generation.techniques.fingerprint import UNDETERMINED
from generation.work.checkpoints import Checkpoint
from generation.work.orders import Order
from generation.work.remarks import Remark
from generation.work.requests.imagine import Imagine
from generation.work.results import EngineFingerprint

T = TypeVar("T")
R = TypeVar("R")


class Slots:
    """The technique of checkpoints that a `StableDiffusionPipeline` can hold.

    Args:
        checkpoint: Which.
        choice: Where and how to draw.
        pipeline: Loaded, on its device.
        fingerprint: Of this combination.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        choice: DeviceChoice,
        pipeline: StableDiffusionPipeline,
        fingerprint: EngineFingerprint,
    ) -> None:
        self.checkpoint = checkpoint
        self.memory_bytes = memory_bytes_of(pipeline.components.values())
        self._pipeline = pipeline
        self._device = torch.device(choice.device)
        self._dtype = pipeline.unet.dtype
        self._usual_micro_batch = choice.micro_batch(checkpoint.width, checkpoint.height)
        self._micro_batch = self._usual_micro_batch
        self._lanes = choice.lanes
        self._pool = ThreadPoolExecutor(choice.lanes, thread_name_prefix="lane")
        self._fingerprint = fingerprint
        self._encoder = PromptEncoder(checkpoint, self._encode, readers_of(pipeline)["prompt"])

    @property
    def max_images(self) -> int:
        """Slots that take a step at once."""
        return self._micro_batch * self._lanes

    @property
    def fingerprint(self) -> EngineFingerprint:
        """Everything outside the request that its pictures' bits depend on."""
        return self._fingerprint.with_fields(
            micro_batch=str(self._micro_batch), undetermined=UNDETERMINED.operations
        )

    def shrink(self, times: int) -> bool:
        """Halve the micro-batch so often, on a GPU: elsewhere memory is not what it is for."""
        micro_batch = self._usual_micro_batch >> times
        if times and (micro_batch < 1 or self._device.type != "cuda"):
            return False
        self._micro_batch = micro_batch
        return True

    def close(self) -> None:
        """Give the weights back: the encoder holds a method of ours, and so us, and so them."""
        self._pool.shutdown()
        del self._encoder, self._pipeline

    def remarks(self, request: Imagine) -> tuple[Remark, ...]:
        """Return where its texts are cut."""
        return self._encoder.cuts(request)

    def drop(self, slots: Sequence[Slot]) -> None:
        """Do nothing: a slot is its tensors, and whoever held it has let go."""

    @torch.inference_mode()
    def begin(self, order: Order) -> list[Slot]:
        """Return one slot for each picture of an order; see `protocol.Technique`."""
        with out_of_memory_told():
            return self._begin(order)

    def _begin(self, order: Order) -> list[Slot]:
        request = order.request
        start = protocol.open_start(order)
        prompt_embeds = self._encoder.prompt_embeds(request)
        negative = None
        if request.is_guided:
            negative = self._encoder.negative_prompt_embeds(request)
        slots = []
        for index in range(request.num_candidates):
            scheduler = copy.deepcopy(self._pipeline.scheduler)
            generator = torch.Generator("cpu").manual_seed(request.seed_of(index))
            timesteps = timesteps_of(scheduler, request, self._device)
            latents = self._first_latents(order, start, scheduler, timesteps, generator)
            slots.append(
                Slot(
                    order,
                    index,
                    latents,
                    scheduler,
                    timesteps,
                    generator,
                    prompt_embeds,
                    negative,
                )
            )
        return slots

    @torch.inference_mode()
    def step(self, slots: Sequence[Slot]) -> None:
        """Move every slot one step on: one forward pass for each micro-batch, in all lanes."""
        size = self._micro_batch
        batches = [slots[start : start + size] for start in range(0, len(slots), size)]
        with out_of_memory_told():
            self._in_lanes(self._step_batch, batches)

    def _step_batch(self, slots: Sequence[Slot]) -> None:
        predictions = self._predict(slots)
        for slot, prediction in zip(slots, predictions.split(1), strict=True):
            timestep = slot.timesteps[slot.position]
            extra = self._pipeline.prepare_extra_step_kwargs(slot.generator, eta=0.0)
            slot.latents = slot.scheduler.step(
                prediction, timestep, slot.latents, **extra, return_dict=False
            )[0]
            slot.position += 1

    def _predict(self, slots: Sequence[Slot]) -> torch.Tensor:
        """Return the denoiser's guided predictions in float32, one a slot."""
        padding = [slots[-1]] * (self._micro_batch - len(slots))
        padded = [*slots, *padding]
        timesteps = torch.stack([slot.timesteps[slot.position] for slot in padded])
        scaled = [
            slot.scheduler.scale_model_input(slot.latents, slot.timesteps[slot.position])
            for slot in padded
        ]
        latents = torch.cat(scaled).to(self._dtype)
        prompt_embeds = torch.cat([slot.prompt_embeds for slot in padded])
        negative = [
            s.negative_prompt_embeds for s in padded if s.negative_prompt_embeds is not None
        ]
        if negative:
            latents, timesteps = latents.repeat(2, 1, 1, 1), timesteps.repeat(2)
            prompt_embeds = torch.cat([*negative, prompt_embeds])
        output = self._pipeline.unet(
            latents,
            timesteps,
            encoder_hidden_states=prompt_embeds.to(self._dtype),
            return_dict=False,
        )[0].float()
        if not negative:
            return output[: len(slots)]
        uncond, text = output.chunk(2)
        scale = torch.tensor([slot.order.request.guidance_scale for slot in slots])
        scale = scale.view(-1, 1, 1, 1).to(self._device)
        count = len(slots)
        return uncond[:count] + scale * (text[:count] - uncond[:count])

    @torch.inference_mode()
    def pixels(self, slots: Sequence[Slot]) -> list[Image.Image]:
        """Return the slots' pictures, each decoded on its own."""
        with out_of_memory_told():
            return self._in_lanes(self._decode, [slot.latents for slot in slots])

    @torch.inference_mode()
    def preview(self, slot: Slot) -> Image.Image:
        """Return the picture so far."""
        return self._decode(pictures.shrunk(slot.latents))

    def _decode(self, latents: torch.Tensor) -> Image.Image:
        scaled = latents / self._pipeline.vae.config.scaling_factor
        return pictures.decoded(self._pipeline, scaled)

    def _encode(self, text: str) -> torch.Tensor:
        embeds: torch.Tensor = self._pipeline.encode_prompt(
            text,
            self._device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=False,
        )[0]
        return embeds

    def _first_latents(
        self,
        order: Order,
        start: Image.Image | None,
        scheduler: Any,
        timesteps: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Return what a slot starts from: noise, or a noised picture.

        Source: diffusers, `prepare_latents` of `StableDiffusionPipeline` and of
        `StableDiffusionImg2ImgPipeline`; same order of draws from the generator.
        """
        request, pipeline = order.request, self._pipeline
        factor = pipeline.vae_scale_factor
        channels = pipeline.unet.config.in_channels
        shape = (1, channels, request.height // factor, request.width // factor)
        if start is None:
            noise = randn_tensor(shape, generator, self._device, torch.float32)
            first: torch.Tensor = noise * scheduler.init_noise_sigma
            return first
        pixels = pipeline.image_processor.preprocess(start).to(self._device, pipeline.vae.dtype)
        encoded = pipeline.vae.encode(pixels)
        if hasattr(encoded, "latent_dist"):
            latents = encoded.latent_dist.sample(generator)
        else:
            latents = encoded.latents
        latents = latents.float() * pipeline.vae.config.scaling_factor
        noise = randn_tensor(latents.shape, generator, self._device, torch.float32)
        noised: torch.Tensor = scheduler.add_noise(latents, noise, timesteps[:1])
        return noised

    def _in_lanes(self, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """Return `work` of each item, in order; several lanes work at the same time."""
        if len(items) <= 1 or self._lanes == 1:
            return [work(item) for item in items]

        def infer(item: T) -> R:
            with torch.inference_mode():  # holds for one thread only
                return work(item)

        return list(self._pool.map(infer, items))
