"""One picture on its way from noise to pixels, independent of every other."""

import dataclasses
from typing import Any

import torch

from generation.work.orders import Order
from generation.work.requests.imagine import Imagine


@dataclasses.dataclass(slots=True, eq=False)
class Slot:
    """One picture on its way from noise.

    Args:
        order: The job it belongs to.
        index: Its place in the job, from 0.
        latents: [1, channels, height, width] in float32.
        scheduler: Its own; diffusers' schedulers hold state.
        timesteps: The scheduler's, from where it started; may hold two a step (Heun).
        generator: Its own source of chance, on the CPU.
        prompt_embeds: [1, tokens, features].
        negative_prompt_embeds: The same, or None without guidance.
        position: How many of `timesteps` are done.
    """

    order: Order
    index: int
    latents: torch.Tensor
    scheduler: Any
    timesteps: torch.Tensor
    generator: torch.Generator
    prompt_embeds: torch.Tensor
    negative_prompt_embeds: torch.Tensor | None
    position: int = 0

    @property
    def alike(self) -> tuple[object, ...]:
        """What slots must share to go through the denoiser together."""
        return (*self.latents.shape, *self.prompt_embeds.shape, self.is_guided)

    @property
    def steps_done(self) -> int:
        """Steps taken; a Heun step is two of the scheduler's timesteps."""
        is_done = self.position >= len(self.timesteps)
        return self.steps if is_done else self.position // int(self.scheduler.order)

    @property
    def steps(self) -> int:
        """Steps in all."""
        return -(-len(self.timesteps) // int(self.scheduler.order))

    @property
    def is_guided(self) -> bool:
        """Whether its prompt is weighed against its negative prompt."""
        return self.negative_prompt_embeds is not None


def timesteps_of(scheduler: Any, request: Imagine, device: torch.device) -> torch.Tensor:
    """Return the timesteps that are left after what `strength` skips.

    Source: diffusers, `StableDiffusionImg2ImgPipeline.get_timesteps`.
    """
    scheduler.set_timesteps(request.num_inference_steps, device=device)
    start = request.start_step * scheduler.order
    if request.start and hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(start)
    timesteps: torch.Tensor = scheduler.timesteps[start:]
    return timesteps
